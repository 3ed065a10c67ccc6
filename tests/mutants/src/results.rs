//! The verdicts on mutants, in a file that grows by one line for each: an interrupted run goes on behind the last.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::mutation::Id;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By which stage and which test.
    Noticed(String),
    /// Code that tests run, and none fails.
    Survived,
    /// No test runs the code.
    Unreached,
    /// The compiler refuses it.
    Refused,
}

impl Verdict {
    fn write(&self) -> (&'static str, &str) {
        match self {
            Self::Noticed(by) => ("noticed", by),
            Self::Survived => ("survived", ""),
            Self::Unreached => ("unreached", ""),
            Self::Refused => ("refused", ""),
        }
    }

    fn read(word: &str, by: &str) -> Option<Self> {
        match word {
            "noticed" => Some(Self::Noticed(by.to_owned())),
            "survived" => Some(Self::Survived),
            "unreached" => Some(Self::Unreached),
            "refused" => Some(Self::Refused),
            _ => None,
        }
    }

    pub(crate) fn is_noticed(&self) -> bool {
        matches!(self, Self::Noticed(_))
    }
}

#[derive(Debug)]
pub(crate) struct Results {
    file: File,
    /// The last verdict on each.
    verdicts: BTreeMap<Id, Verdict>,
}

impl Results {
    /// `again` forgets the verdicts on those that no test noticed.
    pub(crate) fn open(file: &Path, again: bool) -> io::Result<Self> {
        let mut verdicts = BTreeMap::new();
        let written = std::fs::read_to_string(file).unwrap_or_default();
        for line in written.lines() {
            let mut words = line.splitn(3, '\t');
            let mut next = || words.next().unwrap_or_default();
            // The last line of an interrupted run may be incomplete.
            if let (Some(id), word, by) = (Id::parse(next()), next(), next())
                && let Some(verdict) = Verdict::read(word, by)
            {
                verdicts.insert(id, verdict);
            }
        }
        if again {
            verdicts.retain(|_, it| it.is_noticed() || *it == Verdict::Refused);
        }
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        if !written.is_empty() && !written.ends_with('\n') {
            writeln!(file)?;
        }
        Ok(Self { file, verdicts })
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Verdict> {
        self.verdicts.get(&id)
    }

    pub(crate) fn is_refused(&self, id: Id) -> bool {
        self.get(id) == Some(&Verdict::Refused)
    }

    /// The next verdict on this mutant counts.
    pub(crate) fn forget(&mut self, id: Id) {
        self.verdicts.remove(&id);
    }

    pub(crate) fn add(&mut self, id: Id, verdict: Verdict) -> io::Result<()> {
        let (word, by) = verdict.write();
        writeln!(self.file, "{id}\t{word}\t{by}")?;
        self.verdicts.insert(id, verdict);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_run_goes_on_behind_its_last_verdict() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("results.tsv");
        let ids: Vec<Id> = (0..4).map(|n| Id::of(&format!("{n}"))).collect();
        let mut results = Results::open(&file, false).expect("a file");
        let noticed = Verdict::Noticed("core: a::b".to_owned());
        results.add(ids[0], Verdict::Survived).expect("room");
        results.add(ids[0], noticed.clone()).expect("room");
        results.add(ids[1], Verdict::Unreached).expect("room");
        results.add(ids[2], Verdict::Refused).expect("room");
        // It was ended in the middle of a line.
        write!(results.file, "{}\tnot", ids[3]).expect("room");
        drop(results);

        let mut results = Results::open(&file, false).expect("a file");
        assert_eq!(results.get(ids[0]), Some(&noticed));
        assert_eq!(results.get(ids[1]), Some(&Verdict::Unreached));
        assert!(results.is_refused(ids[2]));
        assert_eq!(results.get(ids[3]), None);
        results.add(ids[3], Verdict::Survived).expect("room");

        let results = Results::open(&file, true).expect("a file");
        assert_eq!(results.get(ids[0]), Some(&noticed));
        assert_eq!(results.get(ids[1]), None);
        assert!(results.is_refused(ids[2]));
        assert_eq!(results.get(ids[3]), None);
    }
}
