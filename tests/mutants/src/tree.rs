//! The copy of the repository that the mutants are planted in. Files that are as they should be keep their time, so
//! that a repeated run compiles nothing.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mutation::{Mutation, hash};
use crate::rewriting::rewrite;

/// The injected file, without the ids.
const SWITCH: &str = include_str!("../switch.rs");
const IDS: &str = "/* ids */";

pub(crate) struct Tree {
    /// Where the copy is.
    pub(crate) root: PathBuf,
    source: PathBuf,
    /// The files of the repository, relative.
    files: Vec<PathBuf>,
}

/// A mutation in the text of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) bytes: Range<usize>,
    /// The number of its switch.
    pub(crate) mutant: usize,
}

impl Tree {
    pub(crate) fn new(source: &Path, root: PathBuf) -> Result<Self, Box<dyn Error>> {
        let listed = Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(source)
            .output()?;
        if !listed.status.success() {
            return Err("git ls-files failed".into());
        }
        let names = String::from_utf8(listed.stdout)?;
        let files = names.split_terminator('\0').map(PathBuf::from);
        Ok(Self {
            root,
            source: source.to_owned(),
            // One that is removed but not committed is still listed.
            files: files.filter(|file| source.join(file).is_file()).collect(),
        })
    }

    /// Makes the copy equal to the repository, with a switch for each of these mutations. Returns where they are.
    pub(crate) fn plant(&self, mutations: &[&Mutation]) -> Result<Vec<Place>, Box<dyn Error>> {
        let mut places = Vec::new();
        for file in &self.files {
            let here: Vec<(usize, &Mutation)> = mutations
                .iter()
                .copied()
                .enumerate()
                .filter(|(_, it)| Path::new(&it.file) == file)
                .collect();
            let text = match file.to_str() {
                Some("Cargo.toml") => Some(without_lints(&self.read(file)?)),
                Some("src/lib.rs") => Some(format!(
                    "#![allow(warnings, arithmetic_overflow, unconditional_panic)]\n{}\nmod mutant;\n",
                    self.read(file)?
                )),
                Some(name) if !here.is_empty() => {
                    let rewritten = rewrite(&self.read(file)?, &here);
                    places.extend(rewritten.places.into_iter().map(|(mutant, bytes)| Place {
                        file: name.to_owned(),
                        bytes,
                        mutant,
                    }));
                    Some(rewritten.text)
                }
                _ => None,
            };
            match text {
                Some(text) => self.write(file, text.as_bytes())?,
                None => self.copy(file)?,
            }
        }
        let ids: Vec<String> = mutations
            .iter()
            .map(|it| format!("\"{}\"", it.id))
            .collect();
        let switch = SWITCH.replace(IDS, &ids.join(", "));
        self.write(Path::new("src/mutant.rs"), switch.as_bytes())?;
        self.remove_others()?;
        Ok(places)
    }

    /// Changes with each byte of the copy.
    pub(crate) fn fingerprint(&self) -> Result<u64, Box<dyn Error>> {
        let mut all = Vec::new();
        let injected = PathBuf::from("src/mutant.rs");
        for file in self.files.iter().chain([&injected]) {
            all.extend(file.as_os_str().as_encoded_bytes());
            all.extend(hash(&fs::read(self.root.join(file))?).to_le_bytes());
        }
        Ok(hash(&all))
    }

    fn read(&self, file: &Path) -> Result<String, Box<dyn Error>> {
        Ok(fs::read_to_string(self.source.join(file))?)
    }

    fn copy(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        let (from, to) = (self.source.join(file), self.root.join(file));
        if !is(&to, &fs::read(&from)?) {
            create_folder_of(&to)?;
            // With the rights of the original: some are programs.
            fs::copy(from, to)?;
        }
        Ok(())
    }

    fn write(&self, file: &Path, text: &[u8]) -> Result<(), Box<dyn Error>> {
        let to = self.root.join(file);
        if !is(&to, text) {
            create_folder_of(&to)?;
            fs::write(to, text)?;
        }
        Ok(())
    }

    /// Removes what an earlier run copied and the repository has no longer.
    fn remove_others(&self) -> Result<(), Box<dyn Error>> {
        let kept: BTreeSet<PathBuf> = self.files.iter().map(|it| self.root.join(it)).collect();
        let injected = self.root.join("src/mutant.rs");
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !kept.contains(&path) && path != injected {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }
}

fn is(file: &Path, content: &[u8]) -> bool {
    fs::read(file).is_ok_and(|it| it == content)
}

fn create_folder_of(file: &Path) -> std::io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

/// The manifest without its `[lints]`: switches keep no house rules.
fn without_lints(manifest: &str) -> String {
    let mut kept = String::new();
    let mut in_lints = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_lints = line.starts_with("[lints");
        }
        if !in_lints {
            kept += line;
            kept += "\n";
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::{Change, Folder, Id};

    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            create_folder_of(&file).expect("a folder");
            fs::write(file, text).expect("a file");
        };
        write(
            "Cargo.toml",
            "[package]\n[lints.rust]\nunsafe_code = \"forbid\"\n[profile.dev]\n",
        );
        write("src/lib.rs", "//! A crate.\nmod engine;\n");
        write("src/engine.rs", "//! Text.\nfn f() -> bool { true }\n");
        write("docs/PAGE.md", "A page.\n");
        for arguments in [&["init", "-q"][..], &["add", "."]] {
            let done = Command::new("git")
                .args(arguments)
                .current_dir(folder.path())
                .status();
            assert!(done.expect("git").success());
        }
        folder
    }

    fn mutation() -> Mutation {
        let at = "//! Text.\nfn f() -> bool { ".len();
        Mutation {
            id: Id::of("true"),
            folder: Folder::Engine,
            file: "src/engine.rs".to_owned(),
            line: 2,
            function: "f".to_owned(),
            what: String::new(),
            span: at..at + 4,
            change: Change::Replace("false".to_owned()),
        }
    }

    #[test]
    fn a_copy_has_the_switches_and_nothing_that_the_repository_lacks() {
        let repository = repository();
        let copy = tempfile::tempdir().expect("a folder");
        let tree = Tree::new(repository.path(), copy.path().join("tree")).expect("a tree");
        let mutation = mutation();
        let places = tree.plant(&[&mutation]).expect("a copy");

        let read = |name: &str| fs::read_to_string(tree.root.join(name)).expect(name);
        let text = read("src/engine.rs");
        assert_eq!(places.len(), 1);
        let switched = "(if crate::mutant::on(0) { false } else { (true) })";
        assert_eq!(&text[places[0].bytes.clone()], switched);
        assert!(read("src/mutant.rs").contains(&format!("&[\"{}\"]", mutation.id)));
        assert!(read("src/lib.rs").ends_with("mod mutant;\n"));
        assert_eq!(read("Cargo.toml"), "[package]\n[profile.dev]\n");
        assert_eq!(read("docs/PAGE.md"), "A page.\n");

        fs::remove_file(repository.path().join("docs/PAGE.md")).expect("it is there");
        let tree = Tree::new(repository.path(), copy.path().join("tree")).expect("a tree");
        let before = tree.fingerprint().expect("a fingerprint");
        tree.plant(&[&mutation]).expect("a copy");
        assert!(!tree.root.join("docs/PAGE.md").exists());
        assert_eq!(tree.fingerprint().expect("a fingerprint"), before);
        tree.plant(&[]).expect("a copy");
        assert_ne!(tree.fingerprint().expect("a fingerprint"), before);
    }

    #[test]
    fn what_is_as_it_should_be_keeps_its_time() {
        let repository = repository();
        let copy = tempfile::tempdir().expect("a folder");
        let tree = Tree::new(repository.path(), copy.path().join("tree")).expect("a tree");
        tree.plant(&[&mutation()]).expect("a copy");
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        let files = [
            "src/engine.rs",
            "src/lib.rs",
            "src/mutant.rs",
            "Cargo.toml",
            "docs/PAGE.md",
        ];
        for name in files {
            let file = fs::File::open(tree.root.join(name)).expect(name);
            file.set_modified(long_ago).expect(name);
        }
        tree.plant(&[&mutation()]).expect("a copy");
        for name in files {
            let time = fs::metadata(tree.root.join(name)).and_then(|it| it.modified());
            assert_eq!(time.expect(name), long_ago, "{name}");
        }
    }
}
