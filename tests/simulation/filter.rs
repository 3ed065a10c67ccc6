//! The part of a board that a connection is shown: what it watches, as far as it may see that.

use std::collections::BTreeSet;
use std::rc::Rc;

use callboard::protocol::{Sections, Text, Watch};

use crate::board::Row;
use crate::journal::{hold, saw};
use crate::principals::Names;

/// What a connection watches, and what of it it may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub functions: Vec<String>,
    pub workers: Vec<String>,
    pub bindings: Vec<String>,
    pub visible: Names,
}

/// Bytes of the names that a large worker provides.
const LARGE: usize = 16 * 1024;

fn matches(prefixes: &[String], name: &str) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

impl Filter {
    pub(crate) fn of(watch: Option<&Watch<'_>>) -> Self {
        let list = |it: &Option<Vec<Text<'_>>>| -> Vec<String> {
            let names = it.iter().flatten().map(ToString::to_string);
            names.collect()
        };
        match watch {
            None => Self {
                functions: vec![String::new()],
                ..Self::default()
            },
            Some(watch) => Self {
                functions: list(&watch.functions),
                workers: list(&watch.workers),
                bindings: list(&watch.bindings),
                visible: Names::default(),
            },
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.functions.is_empty() && self.workers.is_empty() && self.bindings.is_empty()
    }

    pub(crate) fn has_function(&self, name: &str) -> bool {
        matches(&self.functions, name) && self.visible.has(name)
    }

    pub(crate) fn has_worker(&self, name: &str) -> bool {
        matches(&self.workers, name)
    }

    /// A worker as it is shown: with its visible functions. A connection that may not see everything sees none
    /// without any.
    pub(crate) fn row(&self, row: &Rc<Row>) -> Option<Rc<Row>> {
        if !self.has_worker(&row.name) {
            return None;
        }
        if self.visible.has_all() {
            return Some(row.clone());
        }
        let seen = row.functions.iter().filter(|name| self.visible.has(name));
        let functions: BTreeSet<Rc<str>> = seen.cloned().collect();
        if row.functions.iter().map(|it| it.len()).sum::<usize>() > LARGE && !functions.is_empty() {
            saw("a worker of more than 16 KiB of names was shown to a reader who sees a part");
        }
        let row = Row {
            functions,
            ..Row::clone(row)
        };
        (!row.functions.is_empty()).then(|| row.into())
    }

    /// A binding is seen by who may see both of what it ties together.
    pub(crate) fn has_binding(&self, event: &str, function: &str) -> bool {
        matches(&self.bindings, event) && self.visible.has(event) && self.visible.has(function)
    }

    /// Nothing comes that this filter does not let through.
    pub(crate) fn assert_has(&self, sections: &Sections<'_>) {
        let functions = &sections.functions;
        let entries = functions.added.iter().chain(&functions.updated);
        let names = entries
            .map(|it| it.name.0)
            .chain(functions.removed.iter().map(|it| it.0));
        for name in names {
            hold!(
                self.has_function(name),
                "nothing comes that a watch does not cover",
                "{:?} was told of {name}",
                self
            );
        }
        let workers = &sections.workers;
        let entries = workers.added.iter().chain(&workers.updated);
        let names = entries
            .map(|it| it.name.0)
            .chain(workers.removed.iter().map(|it| it.name.0));
        for name in names {
            hold!(
                self.has_worker(name),
                "nothing comes that a watch does not cover",
                "{:?} was told of worker {name}",
                self
            );
        }
        let entries = workers.added.iter().chain(&workers.updated);
        for name in entries.flat_map(|it| it.added.iter().chain(&it.removed)) {
            hold!(
                self.visible.has(name),
                "nothing comes that a watch does not cover",
                "{:?} was told who provides {name}",
                self
            );
        }
        let bindings = &sections.bindings;
        let entries = bindings.added.iter().chain(&bindings.updated);
        let ties = entries.map(|it| (it.event.0, it.function.0)).chain(
            bindings
                .removed
                .iter()
                .map(|it| (it.event.0, it.function.0)),
        );
        for (event, function) in ties {
            hold!(
                self.has_binding(event, function),
                "nothing comes that a watch does not cover",
                "{:?} was told of {function} at event {event}",
                self
            );
        }
    }
}
