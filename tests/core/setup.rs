//! Boards, watches and workers that many tests begin with.

use callboard::limits::Limits;
use callboard::protocol::Register;

use crate::reader::{Ending, View, WatchFilter};
use crate::world::{World, plain};

pub(crate) fn everything() -> WatchFilter {
    WatchFilter::new(&[""], &[""])
}

pub(crate) fn functions() -> WatchFilter {
    WatchFilter::new(&[""], &[])
}

pub(crate) fn nothing() -> WatchFilter {
    WatchFilter::new(&[], &[])
}

pub(crate) fn names(view: &View) -> Vec<&str> {
    view.functions.keys().map(|name| &**name).collect()
}

pub(crate) fn code(ending: &Ending) -> &str {
    ending.as_ref().expect_err("a refusal").0.as_str()
}

/// Many names and the slices of them that `register` wants.
pub(crate) fn many(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| format!("svc::function_{index:05}"))
        .collect()
}

pub(crate) fn register_all(world: &mut World, link: usize, names: &[String]) -> u64 {
    let id = world.request(link);
    let chunks: Vec<&[String]> = names.chunks(3000).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let functions = chunk.iter().map(|name| plain(name)).collect();
        let more = index + 1 < chunks.len();
        let frame = Register {
            id,
            more,
            functions,
            ..Register::default()
        }
        .to_frame();
        world.say(link, &frame);
    }
    id
}

/// A worker with functions, and a watcher; the worker's connection is believed to live.
pub(crate) fn fleet(names: &[String], limits: Limits) -> (World, usize, usize) {
    let mut world = World::new(limits);
    let watcher = world.join("w", &everything());
    let worker = world.join("p", &nothing());
    register_all(&mut world, worker, names);
    world.turn();
    (world, watcher, worker)
}
