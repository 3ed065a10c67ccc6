//! Draws mutations of the protocol, the engine, the server and the library's state machines by lot, and says which of
//! them no test notices. One build has them all, each behind a switch; `docs/PROOF.md` says how it is run.

mod candidates;
mod clean;
mod compiler;
mod mutation;
mod options;
mod report;
mod results;
mod rewriting;
mod run;
mod stage;
mod tree;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::compiler::Compiler;
use crate::mutation::{Folder, Mutation};
use crate::options::Options;
use crate::report::{Equivalents, Report};
use crate::results::{Results, Verdict};
use crate::run::Run;
use crate::tree::{Place, Tree};

/// The files of the library that decide something; its threads and its interface are left out.
const STATE_MACHINES: [&str; 18] = [
    "backoff.rs",
    "calls.rs",
    "changes.rs",
    "contents.rs",
    "deadline.rs",
    "dial_schedule.rs",
    "link/calls.rs",
    "link/mod.rs",
    "link/registrations.rs",
    "pending.rs",
    "pool.rs",
    "registrations.rs",
    "requests.rs",
    "result_slot.rs",
    "serving.rs",
    "staged_map.rs",
    "view/mod.rs",
    "watch.rs",
];

/// The judgements of people.
const EQUIVALENT: &str = "tests/mutants/equivalent.txt";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match options::parse(&arguments) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether enough mutants were noticed.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let root = options::root();
    let equivalents = Equivalents::parse(&fs::read_to_string(root.join(EQUIVALENT))?)?;
    let found = all_candidates(root)?;
    fs::create_dir_all(&options.out)?;
    let out = fs::canonicalize(&options.out)?;
    let mut results = Results::open(&out.join("results.tsv"), options.again)?;
    if options.list {
        let drawn = draw(&found, options, &results)?;
        for mutation in &drawn {
            println!("{}", mutation.describe());
        }
        eprintln!("{} of {}", drawn.len(), found.len());
        return Ok(true);
    }
    let tree = Tree::new(root, out.join("tree"))?;
    let compiler = Compiler {
        tree: &tree.root,
        target: out.join("build"),
    };
    let drawn = loop {
        let drawn = draw(&found, options, &results)?;
        let places: Vec<Place> = tree.plant(&drawn)?;
        let refused = compiler.check(&places)?;
        if refused.is_empty() {
            break drawn;
        }
        eprintln!(
            "{} of {} do not compile and are replaced",
            refused.len(),
            drawn.len()
        );
        for mutant in refused {
            results.add(drawn[mutant].id, Verdict::Refused)?;
        }
    };
    let programs = compiler.build(&stage::TARGETS)?;
    let run = Run::prepare(&out, &tree, programs, options.jobs)?;
    let chosen: Vec<&Mutation> = drawn
        .into_iter()
        .filter(|it| options.id.is_none_or(|id| id == it.id))
        .collect();
    if let Some(id) = options.id {
        results.forget(id);
    }
    run.judge(&chosen, options.jobs, &mut results)?;

    let judged = chosen
        .iter()
        .filter_map(|it| Some((*it, results.get(it.id)?)));
    let report = Report::new(judged.collect(), &equivalents);
    let page = report.markdown();
    if options.id.is_none() {
        fs::write(out.join("report.md"), &page)?;
    }
    println!("{page}");
    Ok(report.share() >= options.at_least)
}

/// All mutations of all files that are mutated.
fn all_candidates(root: &Path) -> Result<Vec<Mutation>, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path)?;
                let parsed = syn::parse_file(&text)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let name = path.strip_prefix(root)?.to_str().ok_or("a name in UTF-8")?;
                files.push((name.to_owned(), text, parsed));
            }
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    let constants: BTreeSet<String> = files
        .iter()
        .flat_map(|(_, _, file)| candidates::constants(file))
        .collect();
    let mut found = Vec::new();
    for (name, text, parsed) in &files {
        if let Some(folder) = folder_of(name) {
            found.extend(candidates::candidates(
                folder, name, text, parsed, &constants,
            ));
        }
    }
    Ok(found)
}

/// The folder that a source file counts to, if it is mutated.
fn folder_of(file: &str) -> Option<Folder> {
    let (folder, rest) = file.strip_prefix("src/")?.split_once('/')?;
    let folder = Folder::parse(folder)?;
    let is_test = rest
        .split('/')
        .any(|part| part == "tests" || part == "tests.rs");
    let is_left_out = folder == Folder::Worker && !STATE_MACHINES.contains(&rest);
    (!is_test && !is_left_out).then_some(folder)
}

/// The first mutations in the order of the seed, without those that the compiler refused, and the one that was
/// asked for.
fn draw<'a>(
    found: &'a [Mutation],
    options: &Options,
    results: &Results,
) -> Result<Vec<&'a Mutation>, Box<dyn Error>> {
    let mut drawn: Vec<&Mutation> = found
        .iter()
        .filter(|it| options.only.contains(&it.folder) && !results.is_refused(it.id))
        .collect();
    drawn.sort_by_key(|it| it.id.lot(options.seed));
    drawn.truncate(options.count);
    if let Some(id) = options.id {
        if results.is_refused(id) {
            return Err(format!("{id} does not compile").into());
        }
        // Beside the others: one of the draw needs no build of its own.
        let one = found.iter().find(|it| it.id == id);
        let one = one.ok_or_else(|| format!("there is no mutant {id}"))?;
        if !drawn.contains(&one) {
            drawn.push(one);
        }
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_all_folders_are_mutated_and_tests_are_not() {
        assert_eq!(folder_of("src/engine/calls/table.rs"), Some(Folder::Engine));
        assert_eq!(folder_of("src/protocol/frame.rs"), Some(Folder::Protocol));
        assert_eq!(
            folder_of("src/server/event_loop/mod.rs"),
            Some(Folder::Server)
        );
        assert_eq!(folder_of("src/worker/pool.rs"), Some(Folder::Worker));
        for file in [
            "src/lib.rs",
            "src/cli/serve.rs",
            "src/server/event_loop/tests.rs",
            "src/worker/link/tests/mod.rs",
            "src/worker/builder.rs",
        ] {
            assert_eq!(folder_of(file), None, "{file}");
        }
    }

    #[test]
    fn each_file_of_the_library_that_is_named_exists() {
        for file in STATE_MACHINES {
            assert!(
                options::root().join("src/worker").join(file).is_file(),
                "{file}"
            );
        }
    }

    #[test]
    fn others_of_the_draw_replace_those_that_the_compiler_refuses() {
        let found = all_candidates(options::root()).expect("the sources can be read");
        let folder = tempfile::tempdir().expect("a folder");
        let mut results = Results::open(&folder.path().join("results"), false).expect("a file");
        let asked = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
            options::parse(&words).expect("they are known")
        };
        let ten = asked(&["--count", "10", "--only", "engine"]);
        let first = draw(&found, &ten, &results).expect("a draw");
        assert_eq!(first.len(), 10);
        assert!(first.iter().all(|it| it.folder == Folder::Engine));
        results.add(first[4].id, Verdict::Refused).expect("room");
        let second = draw(&found, &ten, &results).expect("a draw");
        assert_eq!(second[..9], [&first[..4], &first[5..]].concat());
        assert!(!first.contains(&second[9]));

        let one = draw(&found, &asked(&["--only", "server"]), &results).expect("a draw")[0];
        let id = one.id.to_string();
        let ten_and_one = asked(&["--count", "10", "--only", "engine", "--id", &id]);
        let drawn = draw(&found, &ten_and_one, &results).expect("a draw");
        assert_eq!(drawn, [&second[..], &[one]].concat());
    }

    #[test]
    fn the_sources_offer_thousands_of_mutations_each_with_an_id_of_its_own() {
        let found = all_candidates(options::root()).expect("the sources can be read");
        let ids: BTreeSet<_> = found.iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), found.len());
        for folder in Folder::ALL {
            let of_folder = found.iter().filter(|it| it.folder == folder).count();
            assert!(of_folder > 200, "{}: {of_folder}", folder.name());
        }
    }
}
