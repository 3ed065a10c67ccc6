//! Holds a worker's view against the model: it equals the board at its revision, as far as the filter shows it,
//! and keeps nothing stale for longer than an engine needs to settle. And what there is to be watched.

use callboard::worker::view::View;
use callboard::worker::{Binding, Entry, Watch, WorkerInfo};

use crate::board::Board;
use crate::context::Context;
use crate::filter::Filter;
use crate::journal::{hold, saw};
use crate::principals::Names;
use crate::worker::{Stage, Worker};

impl Worker {
    /// The view equals the board at its revision, as far as the filter shows it.
    pub(crate) fn assert_view(&mut self, context: &Context<'_>) {
        let view = self.link.view();
        let Some(connection) = self.link.connection() else {
            return;
        };
        let (at, filter) = self.sees(context);
        let now = (connection.epoch, view.revision(), view.is_live(), at);
        // A worker that has said GOODBYE reads no further.
        let reads = self.stage != Stage::Leaving;
        if now == self.compared || !view.is_live() || self.filter.is_nothing() || !reads {
            return;
        }
        self.compared = now;
        let history = context.histories[&connection.epoch].borrow();
        hold!(
            view.revision() <= history.revision(),
            "every view equals the board at its revision",
            "{} is at {}, the board at {}",
            self.name,
            view.revision(),
            history.revision()
        );
        let board = &history.boards[view.revision() as usize];
        self.assert_functions(view, board, &filter);
        self.assert_workers(view, board, &filter);
        self.assert_bindings(view, board, &filter);
        let functions = view.with_prefix("").any(|it| it.is_stale());
        let workers = view.workers().any(|it| it.is_stale());
        let bindings = view.bindings().any(|it| it.is_stale());
        if functions || workers || bindings {
            saw("entries were kept as stale while an engine settled");
            hold!(
                context.now < self.settles_at,
                "nothing stale is kept beyond the settling",
                "{} at {}, which settles at {}: {:?}",
                self.name,
                context.now,
                self.settles_at,
                view.to_snapshot()
            );
        }
    }

    fn assert_functions(&self, view: &View, board: &Board, filter: &Filter) {
        let entries: Vec<Entry> = view.with_prefix("").collect();
        let seen = entries.iter().filter(|it| !it.is_stale());
        let seen = seen.map(|it| {
            let metadata = it.function().raw_metadata();
            (it.name(), it.description(), metadata, it.is_exclusive())
        });
        let want = board.functions.iter();
        let want = want.filter(|(name, _)| filter.has_function(name));
        let want = want.map(|(name, it)| (&**name, &*it.description, &*it.metadata, it.exclusive));
        hold!(
            seen.clone().eq(want.clone()),
            "every view equals the board at its revision",
            "{} with {:?} at {}: functions {:?} instead of {:?}",
            self.name,
            filter,
            view.revision(),
            seen.map(|it| it.0).collect::<Vec<_>>(),
            want.map(|it| it.0).collect::<Vec<_>>()
        );
    }

    fn assert_workers(&self, view: &View, board: &Board, filter: &Filter) {
        let workers: Vec<WorkerInfo> = view.workers().collect();
        let seen: Vec<_> = workers.iter().filter(|it| !it.is_stale()).collect();
        let want = board.workers.iter();
        let want: Vec<_> = want
            .filter_map(|(id, it)| Some((id, filter.row(it)?)))
            .collect();
        let same = seen.len() == want.len()
            && seen.iter().zip(&want).all(|(seen, (id, it))| {
                (seen.id(), seen.name(), seen.raw_metadata()) == (**id, &*it.name, &*it.metadata)
                    && seen.functions().eq(it.functions.iter().map(|it| &**it))
            });
        hold!(
            same,
            "every view equals the board at its revision",
            "{} with {:?} at {}: workers {seen:?} instead of {want:?}",
            self.name,
            filter,
            view.revision()
        );
    }

    fn assert_bindings(&self, view: &View, board: &Board, filter: &Filter) {
        let bindings: Vec<Binding> = view.bindings().collect();
        let seen = bindings.iter().filter(|it| !it.is_stale());
        let seen = seen.map(|it| {
            let key = (it.event(), it.function(), it.id());
            (key, it.raw_config(), it.delivers_to_all())
        });
        let want = board.bindings.iter();
        let want = want.filter(|(key, _)| filter.has_binding(&key.0, &key.1));
        let want = want.map(|(key, it)| {
            let key = (&*key.0, &*key.1, &*key.2);
            (key, &*it.config, it.deliver_all)
        });
        hold!(
            seen.clone().eq(want.clone()),
            "every view equals the board at its revision",
            "{} with {:?} at {}: bindings {:?} instead of {:?}",
            self.name,
            filter,
            view.revision(),
            seen.collect::<Vec<_>>(),
            want.collect::<Vec<_>>()
        );
    }
}

/// What a worker may watch.
pub(crate) fn watches() -> Vec<(Watch, Filter)> {
    let list = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    let filter = |functions: &[&str], workers: &[&str], bindings: &[&str]| {
        let (functions, workers, bindings) = (list(functions), list(workers), list(bindings));
        let mut watch = Watch::functions(functions.clone());
        if functions.is_empty() {
            watch = Watch::nothing();
        }
        if !workers.is_empty() {
            watch = watch.workers(workers.clone());
        }
        if !bindings.is_empty() {
            watch = watch.bindings(bindings.clone());
        }
        (
            watch,
            Filter {
                functions,
                workers,
                bindings,
                visible: Names::default(),
            },
        )
    };
    vec![
        filter(&[""], &[""], &[""]),
        filter(&[""], &[""], &[""]),
        filter(&[""], &[], &[]),
        filter(&["a"], &[], &[]),
        filter(&["a", "b1", "bulk"], &["w1"], &[]),
        filter(&["b", "b2", "x"], &["w", "w2"], &["e1"]),
        filter(&[], &[""], &[]),
        filter(&[], &[], &["e"]),
        filter(&[], &[], &[]),
    ]
}
