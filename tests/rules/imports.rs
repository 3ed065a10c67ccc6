//! The rules of imports in `src`: no circle of files anywhere, and the order of the engine's folders. Reads files as
//! text: `use` declarations and paths that begin with `crate::` or `super::`, followed through re-exports to the file
//! that defines the name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folders of the engine and the ground files, from the top down: each may name itself and those after it.
const ENGINE_ORDER: &[&str] = &[
    "handlers",
    "mod",
    "connection",
    "calls",
    "metrics",
    "registry",
    "access",
    "ground",
];

/// A module path, as in `["engine", "registry", "board"]`; the crate's root is empty.
type Module = Vec<String>;

/// A file of `src` and what it imports.
struct File {
    path: PathBuf,
    module: Module,
    /// The text without comments and without the unit tests.
    code: String,
    /// Paths that it names, from the crate's root.
    named: Vec<Module>,
    /// Names that it imports, and the paths behind them: its children see them, and others what is public of them.
    re_exports: BTreeMap<String, Module>,
}

/// All files of `src` but `main.rs`, which imports through the crate's name.
struct Files(Vec<File>);

impl Files {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "rs") {
                    let text = std::fs::read_to_string(&path).expect("UTF-8");
                    let path = path.strip_prefix(&root).expect("under src").to_owned();
                    files.push(File::new(path, &text));
                }
            }
        }
        let files = Self(files);
        assert!(files.0.len() > 100, "only {} files", files.0.len());
        files
    }

    /// The file that defines what a path names: the longest prefix that is a module, through re-exports.
    fn definition(&self, path: &[String]) -> Option<&File> {
        let mut path = path.to_vec();
        // A chain of re-exports is short; a loop of them would not compile.
        for _ in 0..10 {
            let file = (0..=path.len())
                .rev()
                .find_map(|len| self.0.iter().find(|it| it.module == path[..len]))?;
            let rest = &path[file.module.len()..];
            match rest.first().and_then(|name| file.re_exports.get(name)) {
                Some(target) => path = [&target[..], &rest[1..]].concat(),
                None => return Some(file),
            }
        }
        None
    }

    /// The files that each file imports something from.
    fn imports(&self) -> BTreeMap<&Path, BTreeSet<&Path>> {
        let mut imports = BTreeMap::new();
        for file in &self.0 {
            let named = file.named.iter().filter_map(|path| self.definition(path));
            let named = named.map(|it| &*it.path).filter(|it| *it != file.path);
            imports.insert(&*file.path, named.collect());
        }
        imports
    }
}

impl File {
    fn new(path: PathBuf, text: &str) -> Self {
        let without_tests = text.split("#[cfg(test)]\nmod tests").next();
        let lines = without_tests.unwrap_or_default().lines();
        let code: Vec<&str> = lines
            .map(|line| line.split("//").next().unwrap_or_default())
            .collect();
        let code = code.join("\n");
        let module = module_of(&path);
        let mut file = Self {
            path,
            module,
            code,
            named: Vec::new(),
            re_exports: BTreeMap::new(),
        };
        file.collect();
        file
    }

    fn collect(&mut self) {
        let code = self.code.clone();
        for (at, _) in code.match_indices("use ") {
            let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
            let is_use = before.is_empty() || before.starts_with("pub");
            let Some(end) = code[at..].find(';').filter(|_| is_use) else {
                continue;
            };
            for path in expand(&code[at + 4..at + end]) {
                let Some(absolute) = self.absolute(&path) else {
                    continue;
                };
                if let Some(name) = path.last() {
                    self.re_exports.insert(name.clone(), absolute.clone());
                }
                self.named.push(absolute);
            }
        }
        for prefix in ["crate::", "super::"] {
            for (at, _) in code.match_indices(prefix) {
                // A visibility, as in `pub(in crate::worker)`, imports nothing.
                if code[..at].ends_with("in ") {
                    continue;
                }
                let path = code[at..]
                    .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
                    .next()
                    .unwrap_or_default();
                let path: Vec<String> = path.split("::").map(str::to_owned).collect();
                if path.iter().all(|part| !part.is_empty()) {
                    self.named.extend(self.absolute(&path));
                }
            }
        }
    }

    /// A path from the crate's root; `None` if it leads out of the crate.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let mut base = self.module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" => rest = &path[1..],
            "super" => {
                while let Some(("super", behind)) = rest
                    .split_first()
                    .map(|(first, behind)| (first.as_str(), behind))
                {
                    base.pop();
                    rest = behind;
                }
            }
            // A child module, or another crate.
            child => {
                let is_child = self.code.contains(&format!("mod {child};"));
                let is_child = is_child || self.declares(child);
                if !is_child {
                    return None;
                }
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    /// Whether this is a folder's `mod.rs` with such a file or folder beside it.
    fn declares(&self, child: &str) -> bool {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let folder = folder.join(self.module.iter().collect::<PathBuf>());
        folder.join(format!("{child}.rs")).exists() || folder.join(child).join("mod.rs").exists()
    }
}

fn module_of(path: &Path) -> Module {
    let path = path.with_extension("");
    let parts = path.iter().map(|part| part.to_str().expect("UTF-8"));
    let mut module: Module = parts.map(str::to_owned).collect();
    if matches!(&*module[module.len() - 1], "mod" | "lib") {
        module.pop();
    }
    module
}

/// The paths of a `use` tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn expand(tree: &str) -> Vec<Module> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let parts = path.split("::").map(|part| part.trim().to_owned());
        return vec![parts.collect()];
    };
    let group = &group[..group.rfind('}').unwrap_or(group.len())];
    let prefix: Vec<String> = prefix
        .split("::")
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    let (mut paths, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[begin..at].trim().is_empty() {
                    let inner = expand(&group[begin..at]);
                    paths.extend(inner.into_iter().map(|path| [&prefix[..], &path].concat()));
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    paths
}

/// The groups of files that reach each other, by repeatedly removing files that import nothing, or that nothing imports.
fn circles<'a>(imports: &BTreeMap<&'a Path, BTreeSet<&'a Path>>) -> BTreeSet<&'a Path> {
    let mut left = imports.clone();
    loop {
        let imported: BTreeSet<&Path> = left.values().flatten().copied().collect();
        let removable: Vec<&Path> = left
            .iter()
            .filter(|(file, named)| named.is_empty() || !imported.contains(*file))
            .map(|(file, _)| *file)
            .collect();
        if removable.is_empty() {
            return left.into_keys().collect();
        }
        for file in removable {
            left.remove(file);
            for named in left.values_mut() {
                named.remove(file);
            }
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = Files::read();
    let circles = circles(&files.imports());
    assert!(
        circles.is_empty(),
        "these files import in circles: {circles:#?}"
    );
}

#[test]
fn circles_and_re_exports_are_found() {
    let file = |path: &str, text: &str| File::new(path.into(), text);
    let files = Files(vec![
        file("engine/mod.rs", "mod a;\nmod b;\npub use a::A;\n"),
        file("engine/a.rs", "use super::b::{self, B};\nstruct A;\n"),
        file(
            "engine/b.rs",
            "use crate::{engine::A, limits};\nstruct B;\n",
        ),
    ]);
    let found = circles(&files.imports());
    let found: Vec<&str> = found.iter().filter_map(|it| it.to_str()).collect();
    assert_eq!(found, ["engine/a.rs", "engine/b.rs"]);
}

/// The place of an engine's file in [`ENGINE_ORDER`].
fn engine_folder(path: &Path) -> Option<&str> {
    let path = path.strip_prefix("engine").ok()?;
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    Some(match parts[..] {
        ["mod.rs"] => "mod",
        [_] => "ground",
        [folder, ..] => folder,
        [] => return None,
    })
}

#[test]
fn the_engines_folders_import_downwards() {
    let files = Files::read();
    let place = |folder: &str| {
        let place = ENGINE_ORDER.iter().position(|it| *it == folder);
        place
            .unwrap_or_else(|| panic!("src/engine/{folder} has no place in the order: give it one"))
    };
    for (file, named) in files.imports() {
        let Some(folder) = engine_folder(file) else {
            continue;
        };
        for other in named.iter().filter_map(|path| engine_folder(path)) {
            assert!(
                place(folder) <= place(other),
                "{} names something of {other}, which {folder} may not",
                file.display()
            );
        }
    }
}

#[test]
fn state_never_names_the_engine_and_transitions_live_in_handlers() {
    for file in Files::read().0 {
        let Some(folder) = engine_folder(&file.path) else {
            continue;
        };
        let mut words = file.code.split(|c: char| !c.is_alphanumeric() && c != '_');
        match folder {
            "handlers" => {}
            "mod" => {
                let handled = file.code.matches("fn handle_").count();
                assert_eq!(handled, 0, "a transition belongs in handlers");
            }
            _ => assert!(
                words.all(|word| word != "Engine"),
                "{} names Engine",
                file.path.display()
            ),
        }
    }
}
