//! What came of the mutants, as Markdown: totals of each folder, what noticed them, and those that nothing noticed.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::mutation::{Folder, Id, Mutation};
use crate::results::Verdict;

/// Mutants that change nothing that matters, with the reason. Judged by a person.
#[derive(Debug, Default)]
pub(crate) struct Equivalents(BTreeMap<Id, String>);

impl Equivalents {
    /// One a line: the id and the reason. Lines that begin with `#` are comments.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = text
            .lines()
            .filter(|it| !it.is_empty() && !it.starts_with('#'));
        let parsed = lines.map(|line| {
            let judged = line.split_once(' ');
            let judged = judged.and_then(|(id, reason)| Some((Id::parse(id)?, reason.to_owned())));
            judged.ok_or_else(|| format!("no id and reason: {line}"))
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }
}

/// What came of one mutant.
type Judged<'a> = (&'a Mutation, &'a Verdict);

pub(crate) struct Report<'a> {
    judged: Vec<Judged<'a>>,
    equivalents: &'a Equivalents,
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    noticed: usize,
    survived: usize,
    unreached: usize,
    equivalent: usize,
}

impl Totals {
    /// The share that was noticed of those that change something, in percent.
    fn share(self) -> f64 {
        let all = self.noticed + self.survived + self.unreached;
        match all {
            0 => 100.0,
            all => 100.0 * self.noticed as f64 / all as f64,
        }
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(mut judged: Vec<Judged<'a>>, equivalents: &'a Equivalents) -> Self {
        judged.sort_by_key(|(it, _)| (it.folder, &it.file, it.line, it.id));
        Self {
            judged,
            equivalents,
        }
    }

    /// The share that was noticed, in percent.
    pub(crate) fn share(&self) -> f64 {
        self.totals(None).share()
    }

    fn totals(&self, folder: Option<Folder>) -> Totals {
        let mut totals = Totals::default();
        for (mutation, verdict) in &self.judged {
            if folder.is_some_and(|folder| folder != mutation.folder) {
                continue;
            }
            match verdict {
                Verdict::Noticed(_) => totals.noticed += 1,
                Verdict::Survived | Verdict::Unreached if self.reason(mutation).is_some() => {
                    totals.equivalent += 1;
                }
                Verdict::Survived => totals.survived += 1,
                Verdict::Unreached => totals.unreached += 1,
                Verdict::Refused => {}
            }
        }
        totals
    }

    fn reason(&self, mutation: &Mutation) -> Option<&str> {
        self.equivalents.0.get(&mutation.id).map(|reason| &**reason)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut page = String::from(
            "| | noticed | survived | never reached | equivalent | noticed of those that change something |\n\
             |---|---|---|---|---|---|\n",
        );
        let rows = Folder::ALL.into_iter().map(|it| (it.name(), Some(it)));
        for (name, folder) in rows.chain([("all", None)]) {
            let totals = self.totals(folder);
            let Totals {
                noticed,
                survived,
                unreached,
                equivalent,
            } = totals;
            let _ = writeln!(
                page,
                "| {name} | {noticed} | {survived} | {unreached} | {equivalent} | {:.1} % |",
                totals.share()
            );
        }
        page += "\n";
        let mut stages: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, verdict) in &self.judged {
            if let Verdict::Noticed(by) = verdict {
                *stages
                    .entry(by.split(':').next().unwrap_or(by))
                    .or_default() += 1;
            }
        }
        let stages: Vec<String> = stages
            .iter()
            .map(|(stage, n)| format!("{stage} {n}"))
            .collect();
        let _ = writeln!(page, "Noticed first by: {}.", stages.join(", "));
        self.list(&mut page, "Reached, and not noticed", |it, verdict| {
            *verdict == Verdict::Survived && self.reason(it).is_none()
        });
        self.list(&mut page, "Never reached", |it, verdict| {
            *verdict == Verdict::Unreached && self.reason(it).is_none()
        });
        self.list(&mut page, "Equivalent", |it, verdict| {
            !verdict.is_noticed() && self.reason(it).is_some()
        });
        self.list(
            &mut page,
            "Noticed, although judged equivalent",
            |it, verdict| verdict.is_noticed() && self.reason(it).is_some(),
        );
        page
    }

    fn list(&self, page: &mut String, title: &str, chosen: impl Fn(&Mutation, &Verdict) -> bool) {
        let chosen = self
            .judged
            .iter()
            .filter(|(it, verdict)| chosen(it, verdict));
        let lines: Vec<String> = chosen
            .map(|(it, _)| {
                let reason = self
                    .reason(it)
                    .map(|reason| format!(" Equivalent: {reason}"));
                format!("- {}.{}", it.describe(), reason.unwrap_or_default())
            })
            .collect();
        if !lines.is_empty() {
            let _ = write!(
                page,
                "\n{title} ({}):\n\n{}\n",
                lines.len(),
                lines.join("\n")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutation::Change;

    fn mutation(folder: Folder, what: &str) -> Mutation {
        Mutation {
            id: Id::of(what),
            folder,
            file: "src/a.rs".to_owned(),
            line: 7,
            function: "f".to_owned(),
            what: what.to_owned(),
            span: 0..0,
            change: Change::Omit,
        }
    }

    #[test]
    fn what_changes_nothing_does_not_count_and_what_no_test_reaches_does() {
        let mutations = ["a", "b", "c", "d"].map(|it| mutation(Folder::Engine, it));
        let verdicts = [
            Verdict::Noticed("core: t".to_owned()),
            Verdict::Survived,
            Verdict::Unreached,
            Verdict::Survived,
        ];
        let text = format!("# why\n\n{} the order does not matter\n", mutations[3].id);
        let equivalents = Equivalents::parse(&text).expect("it is well written");
        let report = Report::new(mutations.iter().zip(&verdicts).collect(), &equivalents);
        assert!((report.share() - 100.0 / 3.0).abs() < 1e-9);
        let page = report.markdown();
        assert!(
            page.contains("| engine | 1 | 1 | 1 | 1 | 33.3 % |"),
            "{page}"
        );
        assert!(
            page.contains("| server | 0 | 0 | 0 | 0 | 100.0 % |"),
            "{page}"
        );
        assert!(page.contains("Noticed first by: core 1."), "{page}");
        let survivor = format!(
            "Reached, and not noticed (1):\n\n- {} src/a.rs:7 `f`: b.",
            mutations[1].id
        );
        assert!(page.contains(&survivor), "{page}");
        assert!(page.contains("Never reached (1):"), "{page}");
        assert!(
            page.contains("d. Equivalent: the order does not matter"),
            "{page}"
        );
    }

    #[test]
    fn a_judgement_that_a_test_contradicts_is_told() {
        let mutation = mutation(Folder::Server, "a");
        let verdict = Verdict::Noticed("lib: t".to_owned());
        let text = format!("{} nothing changes", mutation.id);
        let equivalents = Equivalents::parse(&text).expect("it is well written");
        let page = Report::new(vec![(&mutation, &verdict)], &equivalents).markdown();
        assert!(
            page.contains("Noticed, although judged equivalent (1):"),
            "{page}"
        );
        assert!(Equivalents::parse("mutant").is_err());
    }
}
