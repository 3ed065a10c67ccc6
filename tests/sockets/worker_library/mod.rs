//! The worker library over real sockets: against the real engine, through a proxy that breaks
//! connections in ways of its own, and against scripted engines that do what a real one never does.

mod board;
mod calls;
mod events;
mod failover;
mod fake_engine;
mod losses;
mod proxy;
mod reconnecting;

use std::time::{Duration, Instant};

use crate::client;
use callboard::address::Address;
use callboard::limits::Limits;
use callboard::server::{Server, ServerConfig, ServerHandle};
use callboard::worker::{Builder, Change, Changes, Entry, Notice, Step, Watch, Worker};

/// Nothing here takes so long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An address with a port of the system's choice, which is free again after the engine's end: no connection of a test
/// takes a port of 127.0.0.2.
fn any_port() -> Address {
    "127.0.0.2:0".parse().unwrap()
}

fn config(listen: Vec<Address>, limits: Limits) -> ServerConfig {
    ServerConfig {
        listen,
        limits,
        ..ServerConfig::default()
    }
}

fn serve(listen: Vec<Address>, limits: Limits) -> ServerHandle {
    Server::spawn(config(listen, limits)).unwrap()
}

/// An engine that starts without the settling that only tests about restarts want.
fn engine() -> ServerHandle {
    serve(vec![any_port()], settled())
}

fn settled() -> Limits {
    Limits {
        settling: 0,
        ..Limits::default()
    }
}

/// A restart of the engine that listened there.
fn serve_again(address: &Address, limits: Limits) -> ServerHandle {
    client::serve_again(&config(vec![address.clone()], limits))
}

fn at(addresses: &[&Address], name: &str) -> Builder {
    Worker::builder(name)
        .addresses(addresses.iter().map(|&it| it.clone()))
        .probe_interval(Duration::from_millis(50))
}

fn connect(engine: &ServerHandle, name: &str) -> Worker {
    at(&[&engine.addresses()[0]], name)
        .connect(PATIENCE)
        .unwrap()
}

fn everything() -> Watch {
    Watch::all().workers([""])
}

/// The next notice for which `choose` finds something.
fn await_notice<T>(changes: &mut Changes, mut choose: impl FnMut(Notice) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let notice = changes
            .recv_timeout(left)
            .unwrap()
            .expect("the worker is over");
        if let Some(found) = choose(notice) {
            return found;
        }
    }
}

fn next_step(changes: &mut Changes) -> Step {
    await_notice(changes, |notice| match notice {
        Notice::Step(step) => Some(step),
        _ => None,
    })
}

fn await_synced(changes: &mut Changes) -> u64 {
    await_notice(changes, |notice| match notice {
        Notice::Synced { revision } => Some(revision),
        _ => None,
    })
}

/// A step in short: `+a -b ~c`, for workers `>a <b =c`.
fn brief(step: &Step) -> String {
    let words = step.changes.iter().map(|change| match change {
        Change::Added(entry) => format!("+{}", entry.name()),
        Change::Removed(entry) => format!("-{}", entry.name()),
        Change::Updated { new, .. } => format!("~{}", new.name()),
        Change::WorkerJoined(worker) => format!(">{}", worker.name()),
        Change::WorkerLeft(worker) => format!("<{}", worker.name()),
        Change::WorkerUpdated { new, .. } => format!("={}", new.name()),
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn names(worker: &Worker) -> Vec<String> {
    let entries = worker.board().with_prefix("");
    entries
        .iter()
        .map(|entry| entry.name().to_owned())
        .collect()
}

/// Waits until a board has exactly these functions.
fn await_names(worker: &Worker, want: &[&str]) {
    let result = worker.board().wait_until(PATIENCE, |board| {
        let entries = board.with_prefix("");
        entries.iter().map(Entry::name).eq(want.iter().copied())
    });
    assert!(result.is_ok(), "{:?} instead of {want:?}", names(worker));
}
