//! The run of the tests: once without a mutant, to learn what each stage takes and which mutants it reaches, and then
//! for each mutant until a test notices it.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::compiler::Program;
use crate::mutation::{Id, Mutation};
use crate::results::{Results, Verdict};
use crate::stage::{Ending, Stage, most_for, stage};
use crate::tree::Tree;

/// A stage and where it recorded the mutants that it reaches.
struct Measured {
    stage: Stage,
    reached: PathBuf,
}

pub(crate) struct Run {
    stages: Vec<Measured>,
}

impl Run {
    /// Runs all stages without a mutant, unless an earlier run of the same copy did.
    pub(crate) fn prepare(
        out: &Path,
        tree: &Tree,
        programs: &[Program],
        mutants: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let fingerprint = tree.fingerprint()?;
        let clean = out.join("clean").join(format!("{fingerprint:016x}"));
        let mut stages = Vec::new();
        for (name, program) in programs {
            let mut stage = stage(name, program, &tree.root);
            let (reached, took) = (clean.join(name), clean.join(format!("{name}.ms")));
            if !took.is_file() {
                let spent = measure(&stage, &reached)?;
                fs::write(&took, spent.as_millis().to_string())?;
            }
            let spent = Duration::from_millis(fs::read_to_string(&took)?.trim().parse()?);
            stage.most = most_for(spent);
            eprintln!(
                "{name}: passes in {:.1} s without a mutant and reaches {} of {mutants}",
                spent.as_secs_f64(),
                fs::read_dir(&reached)?.count()
            );
            stages.push(Measured { stage, reached });
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

    /// Runs the stages that reach the mutant, until one notices it.
    fn verdict(&self, id: Id) -> Verdict {
        let name = id.to_string();
        let mut verdict = Verdict::Unreached;
        for Measured { stage, reached } in &self.stages {
            if !reached.join(&name).exists() {
                continue;
            }
            verdict = Verdict::Survived;
            let by = match stage.run(("CALLBOARD_MUTANT", &name)) {
                Ending::Passed => continue,
                Ending::Failed(test) => test,
                Ending::Hung => "it hangs".to_owned(),
                Ending::Died => "the program dies".to_owned(),
            };
            return Verdict::Noticed(format!("{}: {by}", stage.name));
        }
        verdict
    }
}

/// Runs a stage without a mutant. Returns how long it took; `reached` gets a file for each mutant that it reached.
fn measure(stage: &Stage, reached: &Path) -> Result<Duration, Box<dyn Error>> {
    fs::create_dir_all(reached)?;
    let folder = reached.to_str().ok_or("a folder's name in UTF-8")?;
    let began = Instant::now();
    match stage.run(("CALLBOARD_REACHED", folder)) {
        Ending::Passed => Ok(began.elapsed()),
        ending => {
            let program = stage.program.display();
            Err(format!("without a mutant, {}: {ending:?} ({program})", stage.name).into())
        }
    }
}
