//! The run of the tests for each mutant, until one notices it.

use std::collections::{BTreeSet, VecDeque};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
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

    /// Judges those that have no verdict yet, so many side by side.
    pub(crate) fn judge(
        &self,
        drawn: &[&Mutation],
        jobs: usize,
        results: &mut Results,
    ) -> Result<(), Box<dyn Error>> {
        let open = drawn
            .iter()
            .copied()
            .filter(|it| results.get(it.id).is_none());
        let open: VecDeque<&Mutation> = open.collect();
        let total = open.len();
        let queue = Mutex::new(open);
        let results = Mutex::new(results);
        let next = || {
            let mut queue = queue.lock().expect("no thread panics with it");
            Some((total - queue.len() + 1, queue.pop_front()?))
        };
        let work = || -> std::io::Result<()> {
            while let Some((number, mutation)) = next() {
                let began = Instant::now();
                let verdict = self.verdict(mutation.id);
                let said = match &verdict {
                    Verdict::Noticed(by) => format!("noticed by {by}"),
                    Verdict::Survived => "SURVIVED".to_owned(),
                    Verdict::Unreached => "NEVER REACHED".to_owned(),
                    Verdict::Refused => continue,
                };
                let spent = began.elapsed().as_secs_f64();
                eprintln!(
                    "{number}/{total} {} - {said} ({spent:.1} s)",
                    mutation.describe()
                );
                let mut results = results.lock().expect("no thread panics with it");
                results.add(mutation.id, verdict)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|it| it.join().expect("it does not panic"))
        })?;
        Ok(())
    }

    /// Runs the tests that reach the mutant, the quick ones first, until one notices it.
    fn verdict(&self, id: Id) -> Verdict {
        let mut verdict = Verdict::Unreached;
        let mut from = Duration::ZERO;
        for to in PACES {
            for Measured { stage, tests } in &self.stages {
                let tests = tests
                    .iter()
                    .filter(|it| (from..to).contains(&it.took) && it.reached.contains(&id));
                let (names, times): (Vec<&str>, Vec<Duration>) =
                    tests.map(|it| (&*it.name, it.took)).unzip();
                if names.is_empty() {
                    continue;
                }
                verdict = Verdict::Survived;
                let most = most_for(times.into_iter().sum());
                let by = match stage.run(&names, most, ("CALLBOARD_MUTANT", &id.to_string())) {
                    Ending::Passed => continue,
                    Ending::Failed(test) => test,
                    Ending::Hung => "it hangs".to_owned(),
                    Ending::Died => "the program dies".to_owned(),
                };
                return Verdict::Noticed(format!("{}: {by}", stage.name));
            }
            from = to;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn quick_tests_of_all_stages_run_before_slow_ones_and_a_failure_is_the_end() {
        let said = tempfile::NamedTempFile::new().expect("a file");
        let lib = [("slow", 5_000), ("quick", 1), ("quicker", 0)];
        let core = [("very_slow", 90_000), ("last", 4_000), ("at_once", 2)];
        let (_lib, lib) = measured("lib", said.path(), &lib);
        let (_core, core) = measured("core", said.path(), &core);
        let run = Run {
            stages: vec![lib, core],
        };
        let verdict = |id| run.verdict(Id::parse(id).expect("an id"));
        assert_eq!(verdict("ff"), Verdict::Noticed("core: last".to_owned()));
        let ran = fs::read_to_string(said.path()).expect("it was written");
        let expected = [
            "lib --exact quick quicker",
            "core --exact at_once",
            "lib --exact slow",
            "core --exact last",
        ];
        assert_eq!(ran.lines().collect::<Vec<_>>(), expected);
        assert_eq!(verdict("ee"), Verdict::Unreached);
    }

    #[test]
    fn what_no_test_notices_has_survived_all_that_reach_it() {
        let said = tempfile::NamedTempFile::new().expect("a file");
        let (_folder, stage) = measured("lib", said.path(), &[("a", 1), ("b", 100_000)]);
        let run = Run {
            stages: vec![stage],
        };
        let id = Id::parse("ff").expect("an id");
        assert_eq!(run.verdict(id), Verdict::Survived);
        let ran = fs::read_to_string(said.path()).expect("it was written");
        assert_eq!(ran, "lib --exact a\nlib --exact b\n");
    }
}
