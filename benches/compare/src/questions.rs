//! The questions, one after the other: each starts what it needs, and what it started ends with it. Says on the screen
//! how far it is.

use std::time::Instant;

use crate::calls;
use crate::churn;
use crate::fanout;
use crate::growth;
use crate::idle;
use crate::join;
use crate::options::Effort;
use crate::rush;
use crate::section::Section;
use crate::stalled;
use crate::target::Programs;
use crate::wire::Fault;

/// Watchers of a change.
const WATCHERS: usize = 1_000;

/// Functions on a board that is joined.
const FUNCTIONS: u64 = 10_000;

/// Workers that join at once.
const WORKERS: usize = 5_000;

/// Connections that are weighed.
const CONNECTIONS: usize = 10_000;

pub(crate) struct Questions<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) effort: Effort,
    pub(crate) only: &'a [String],
    pub(crate) began: Instant,
}

/// What came out of all questions: the sections, and why there is none of some.
pub(crate) type Answers = (Vec<Section>, Vec<String>);

impl Questions<'_> {
    pub(crate) fn ask(&self) -> Answers {
        let (mut sections, mut failures) = (Vec::new(), Vec::new());
        let mut take = |question: &str, answer: Result<Vec<Section>, Fault>| match answer {
            Ok(answer) => sections.extend(answer),
            Err(fault) => failures.push(format!("The question `{question}` failed: {fault}")),
        };
        let one = |answer: Result<Section, Fault>| answer.map(|section| vec![section]);
        take("fanout, churn and bursts", self.watching());
        let (programs, effort) = (self.programs, self.effort);
        if self.wants("stalled") {
            let length = effort.length(2_000);
            take(
                "stalled",
                one(stalled::ask(programs, effort.rounds(9), length)),
            );
        }
        if self.wants("join") {
            let length = effort.length(500);
            let answer = join::ask(programs, FUNCTIONS, effort.rounds(9), length);
            take("join", one(answer));
        }
        if self.wants("rush") {
            let workers = effort.number(WORKERS);
            let answer = rush::ask(programs, FUNCTIONS, workers, effort.rounds(3));
            take("rush", one(answer));
        }
        let asked = calls::Asked {
            one: self.wants("call"),
            many: self.wants("calls"),
            rounds: effort.rounds(11),
            length: effort.length(400),
        };
        if asked.one || asked.many {
            take("call and calls", calls::ask(programs, &asked));
        }
        if self.wants("idle") {
            let connections = effort.number(CONNECTIONS);
            let answer = idle::ask(programs, connections, effort.rounds(2).min(2));
            take("idle", Ok(vec![answer]));
        }
        let (rounds, length) = (effort.rounds(7), effort.length(500));
        if self.wants("watchers") {
            let sizes = [10, 100, 1_000, effort.number(10_000)];
            let sizes = if effort.quick { &sizes[..3] } else { &sizes };
            let answer = growth::by_watchers(programs, sizes, rounds, length);
            take("watchers", one(answer));
        }
        if self.wants("functions") {
            let sizes = [10, 1_000, 100_000, 1_000_000];
            let sizes = if effort.quick { &sizes[..3] } else { &sizes };
            let answer = growth::by_functions(programs, sizes, rounds, length);
            take("functions", one(answer));
        }
        (sections, failures)
    }

    /// Whether it was asked for; says that it begins.
    fn wants(&self, key: &str) -> bool {
        let wanted = self.only.iter().any(|it| it == key);
        if wanted {
            eprintln!("{:>5.0} s  {key}", self.began.elapsed().as_secs_f64());
        }
        wanted
    }

    /// Changes, churn and bursts, before the same watchers.
    fn watching(&self) -> Result<Vec<Section>, Fault> {
        let effort = self.effort;
        let (mut parties, mut sections) = (Vec::new(), Vec::new());
        if self.wants("fanout") {
            parties = fanout::parties(self.programs, WATCHERS)?;
            let compared = fanout::compare(&mut parties, effort.rounds(11), effort.length(700));
            sections.push(fanout::section(compared, WATCHERS));
        }
        let (rounds, length) = (effort.rounds(7), effort.length(800));
        if self.wants("churn") {
            if parties.is_empty() {
                parties = fanout::parties(self.programs, WATCHERS)?;
            }
            let compared = churn::compare(&mut parties, churn::BURST, rounds, length);
            let toggles =
                churn::compare_toggles(&mut parties, effort.rounds(5), effort.length(500));
            sections.push(churn::section(compared, toggles, WATCHERS));
        }
        if self.wants("bursts") {
            if parties.is_empty() {
                parties = fanout::parties(self.programs, WATCHERS)?;
            }
            let compared = churn::compare(&mut parties, churn::SMALL_BURST, rounds, length);
            sections.push(churn::section_of_small(compared, WATCHERS));
        }
        Ok(sections)
    }
}
