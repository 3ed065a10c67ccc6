//! The run of the tests for each mutant, until one notices it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::clean::{self, Test};
use crate::compiler::Program;
use crate::mutation::{Id, Mutation};
use crate::results::{Results, Verdict};
use crate::stage::{Ending, Stage, most_for};
use crate::tree::Tree;

/// Tests that take less than this run before those that take longer, of whichever stage: most mutants need only the
/// quick ones, and some tests take a thousand times as long.
const PACES: [Duration; 5] = [
    Duration::from_millis(30),
    Duration::from_millis(300),
    Duration::from_secs(3),
    Duration::from_secs(30),
    Duration::MAX,
];

/// A stage and its tests.
struct Measured {
    stage: Stage,
    tests: Vec<Test>,
}

pub(crate) struct Run {
    stages: Vec<Measured>,
}

impl Run {
    /// Runs all tests without a mutant, unless an earlier run of the same copy did.
    pub(crate) fn prepare(
        out: &Path,
        tree: &Tree,
        programs: Vec<Program>,
        jobs: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let clean = out
            .join("clean")
            .join(format!("{:016x}", tree.fingerprint()?));
        fs::create_dir_all(&clean)?;
        let mut stages = Vec::new();
        for (name, program) in programs {
            let file = clean.join(format!("{name}.tsv"));
            let stage = Stage {
                name,
                program,
                tree: tree.root.clone(),
            };
            let tests = clean::tests(&stage, jobs, &file)?;
            let reached: BTreeSet<Id> = tests.iter().flat_map(|it| &it.reached).copied().collect();
            eprintln!(
                "{}: {} tests take {:.1} s without a mutant and reach {}",
                stage.name,
                tests.len(),
                tests.iter().map(|it| it.took.as_secs_f64()).sum::<f64>(),
                reached.len()
            );
            stages.push(Measured { stage, tests });
        }
        Ok(Self { stages })
    }

    /// Judges those that have no verdict yet, so many side by side: all by quick tests, and what is left by slower ones.
    pub(crate) fn judge(
        &self,
        drawn: &[&Mutation],
        jobs: usize,
        results: &mut Results,
    ) -> Result<(), Box<dyn Error>> {
        let mut open: Vec<&Mutation> = drawn.to_vec();
        open.retain(|it| results.get(it.id).is_none());
        let mut from = Duration::ZERO;
        for to in PACES {
            eprintln!("{} are open", open.len());
            self.round(&open, &(from..to), jobs, results)?;
            open.retain(|it| results.get(it.id).is_none());
            from = to;
        }
        for mutation in open {
            let verdict = if self.reaches(mutation.id) {
                Verdict::Survived
            } else {
                Verdict::Unreached
            };
            eprintln!("{} - {verdict:?}", mutation.describe());
            results.add(mutation.id, verdict)?;
        }
        Ok(())
    }

    /// Runs the tests of a pace on these.
    fn round(
        &self,
        open: &[&Mutation],
        pace: &Range<Duration>,
        jobs: usize,
        results: &mut Results,
    ) -> std::io::Result<()> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(results);
        let work = || {
            while let Some(mutation) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                let began = Instant::now();
                if let Some(by) = self.noticed_by(mutation.id, pace) {
                    let spent = began.elapsed().as_secs_f64();
                    let what = mutation.describe();
                    eprintln!("{what} - noticed by {by} ({spent:.1} s)");
                    let mut results = results.lock().expect("no thread panics with it");
                    results.add(mutation.id, Verdict::Noticed(by))?;
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|it| it.join().expect("it does not panic"))
        })
    }

    /// Runs the tests of a pace that reach the mutant. Returns which stage and test notices it.
    fn noticed_by(&self, id: Id, pace: &Range<Duration>) -> Option<String> {
        for Measured { stage, tests } in &self.stages {
            let tests = tests
                .iter()
                .filter(|it| pace.contains(&it.took) && it.reached.contains(&id));
            let (names, times): (Vec<&str>, Vec<Duration>) =
                tests.map(|it| (&*it.name, it.took)).unzip();
            let most = most_for(times.into_iter().sum());
            let by = match stage.run(&names, most, ("CALLBOARD_MUTANT", &id.to_string())) {
                Ending::Passed => continue,
                Ending::Failed(test) => test,
                Ending::Hung => "it hangs".to_owned(),
                Ending::Died => "the program dies".to_owned(),
            };
            return Some(format!("{}: {by}", stage.name));
        }
        None
    }

    /// Whether any test reaches the mutant.
    fn reaches(&self, id: Id) -> bool {
        let mut tests = self.stages.iter().flat_map(|it| &it.tests);
        tests.any(|test| test.reached.contains(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::{Change, Folder};
    use crate::stage::tests::script;

    /// A stage whose tests take so many milliseconds and reach the mutant `ff`. Its program writes down which of them
    /// it runs; the test `last` notices.
    fn measured(name: &str, said: &Path, tests: &[(&str, u64)]) -> (tempfile::TempDir, Measured) {
        let program = format!(
            "echo {name} \"$*\" >> '{}'\n\
             case \"$*\" in *last*) echo 'test last ... FAILED'; exit 101;; esac",
            said.display()
        );
        let (folder, stage) = script(name, &program);
        let test = |(name, took): &(&str, u64)| Test {
            name: (*name).to_owned(),
            took: Duration::from_millis(*took),
            reached: Id::parse("ff").into_iter().collect(),
        };
        let tests = tests.iter().map(test).collect();
        (folder, Measured { stage, tests })
    }

    fn mutation(id: &str) -> Mutation {
        Mutation {
            id: Id::parse(id).expect("an id"),
            folder: Folder::Engine,
            file: String::new(),
            line: 0,
            function: String::new(),
            what: String::new(),
            span: 0..0,
            change: Change::Omit,
        }
    }

    /// The verdicts on these mutants.
    fn judge(stages: Vec<Measured>, ids: &[&str]) -> Vec<Verdict> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut results = Results::open(&folder.path().join("results"), false).expect("a file");
        let mutations: Vec<Mutation> = ids.iter().map(|id| mutation(id)).collect();
        let drawn: Vec<&Mutation> = mutations.iter().collect();
        let run = Run { stages };
        run.judge(&drawn, 1, &mut results).expect("verdicts");
        let verdicts = drawn.iter().map(|it| results.get(it.id).cloned());
        verdicts.map(|it| it.expect("one for each")).collect()
    }

    #[test]
    fn quick_tests_of_all_stages_run_before_slow_ones_and_a_failure_is_the_end() {
        let said = tempfile::NamedTempFile::new().expect("a file");
        let lib = [("slow", 5_000), ("quick", 1), ("quicker", 0)];
        let core = [("very_slow", 90_000), ("last", 4_000), ("at_once", 2)];
        let (_lib, lib) = measured("lib", said.path(), &lib);
        let (_core, core) = measured("core", said.path(), &core);
        let verdicts = judge(vec![lib, core], &["ff", "ee"]);
        let noticed = Verdict::Noticed("core: last".to_owned());
        assert_eq!(verdicts, [noticed, Verdict::Unreached]);
        let ran = fs::read_to_string(said.path()).expect("it was written");
        let expected = [
            "lib --exact quick quicker",
            "core --exact at_once",
            "lib --exact slow",
            "core --exact last",
        ];
        assert_eq!(ran.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_no_test_notices_has_survived_all_that_reach_it() {
        let said = tempfile::NamedTempFile::new().expect("a file");
        let (_folder, stage) = measured("lib", said.path(), &[("a", 1), ("b", 100_000)]);
        assert_eq!(judge(vec![stage], &["ff"]), [Verdict::Survived]);
        let ran = fs::read_to_string(said.path()).expect("it was written");
        assert_eq!(ran, "lib --exact a\nlib --exact b\n");
    }
}
