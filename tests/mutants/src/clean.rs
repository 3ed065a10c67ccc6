//! The run without a mutant: each test by itself, for how long it takes and which mutants it reaches.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::mutation::Id;
use crate::stage::{Ending, LONGEST, Stage};

/// What the run without a mutant says of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) took: Duration,
    pub(crate) reached: BTreeSet<Id>,
}

impl Test {
    /// One line: the name, the milliseconds, the mutants.
    fn write(&self) -> String {
        let mut line = format!("{}\t{}\t", self.name, self.took.as_millis());
        for id in &self.reached {
            let _ = write!(line, "{id} ");
        }
        line
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        let (name, took, reached) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            name: name.to_owned(),
            took: Duration::from_millis(took.parse().ok()?),
            reached: reached.split_whitespace().filter_map(Id::parse).collect(),
        })
    }
}

/// What a file of an earlier run says of a stage's tests; without one, they run, so many side by side.
pub(crate) fn tests(stage: &Stage, jobs: usize, file: &Path) -> Result<Vec<Test>, Box<dyn Error>> {
    if !file.is_file() {
        let tests = measure(stage, jobs, &file.with_extension("reached"))?;
        let lines: Vec<String> = tests.iter().map(Test::write).collect();
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, lines.join("\n"))?;
        fs::rename(unfinished, file)?;
    }
    let tests = fs::read_to_string(file)?;
    let tests = tests.lines().map(Test::read).collect::<Option<_>>();
    tests.ok_or_else(|| format!("{} is damaged", file.display()).into())
}

fn measure(stage: &Stage, jobs: usize, folder: &Path) -> Result<Vec<Test>, Box<dyn Error>> {
    let names = stage.tests()?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<Test>, String> {
        let mut tests = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(name) = names.get(number) else {
                return Ok(tests);
            };
            let measured = measure_test(stage, name, &folder.join(number.to_string()));
            tests.push(measured.map_err(|error| {
                // The others need not go on.
                next.store(names.len(), Ordering::Relaxed);
                error.to_string()
            })?);
        }
    };
    let measured = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let each = threads
            .into_iter()
            .map(|it| it.join().expect("it does not panic"));
        each.collect::<Result<Vec<_>, _>>()
    });
    let _ = fs::remove_dir_all(folder);
    Ok(measured?.into_iter().flatten().collect())
}

/// Runs a test without a mutant; `folder` gets a file for each that it reaches.
fn measure_test(stage: &Stage, name: &str, folder: &Path) -> Result<Test, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let recorded = folder.to_str().ok_or("a folder's name in UTF-8")?;
    let began = Instant::now();
    match stage.run(&[name], LONGEST, ("CALLBOARD_REACHED", recorded)) {
        Ending::Passed => {}
        ending => {
            let program = stage.program.display();
            return Err(format!("without a mutant, {name}: {ending:?} ({program})").into());
        }
    }
    let took = began.elapsed();
    let mut reached = BTreeSet::new();
    for file in fs::read_dir(folder)? {
        reached.extend(file?.file_name().to_str().and_then(Id::parse));
    }
    Ok(Test {
        name: name.to_owned(),
        took,
        reached,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::tests::script;

    const PROGRAM: &str = "case \"$*\" in \
        *--list*) echo 'a: test'; echo 'b::c: test'; echo; echo '2 tests, 0 benchmarks';; \
        '--exact a') : > \"$CALLBOARD_REACHED/00000000ff\";; \
        '--exact b::c') sleep 0.2;; \
        *) exit 101;; esac";

    #[test]
    fn each_test_has_the_time_that_it_takes_and_the_mutants_that_it_reaches() {
        let (folder, stage) = script("core", PROGRAM);
        let file = folder.path().join("core.tsv");
        let mut first = tests(&stage, 2, &file).expect("they pass");
        first.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<&str> = first.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["a", "b::c"]);
        assert_eq!(first[0].reached, Id::parse("ff").into_iter().collect());
        assert!(first[1].reached.is_empty());
        assert!(first[1].took >= Duration::from_millis(200));

        // The second time the file says it.
        fs::remove_file(&stage.program).expect("it is there");
        let mut second = tests(&stage, 2, &file).expect("they are written down");
        second.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(second, first);
    }

    #[test]
    fn a_test_that_fails_without_a_mutant_is_told() {
        let (folder, stage) = script("core", &PROGRAM.replace("sleep 0.2", "exit 101"));
        let error = tests(&stage, 1, &folder.path().join("core.tsv"));
        let error = error.expect_err("it fails").to_string();
        assert!(error.starts_with("without a mutant, b::c: Died"), "{error}");
    }
}
