//! What makes the comparison fair, and what does not: said beside the figures, where people look for it.

use crate::server::ENGINE_FLAGS;
use crate::wire::FRAME;

pub(crate) fn notes() -> Vec<String> {
    let flags = ENGINE_FLAGS.map(|(flag, value)| format!("`--{flag} {value}`"));
    vec![
        "**One machine.** Everything goes over the loopback: no network, no card, no second machine. Where a write call \
         carries the bytes through the receiver's side of the stack as well, as the loopback does, the kernel's part is \
         larger than it is elsewhere, and the servers are closer together than they would be."
            .to_owned(),
        "**One load.** The same loop, in one thread on a processor of its own, plays all watchers, publishers, callers \
         and providers of every target, and takes its times right behind the read. Each protocol is spoken directly, \
         etcd's gRPC too, so that no client library is part of a figure."
            .to_owned(),
        "**One processor for each server**, also for those that would use more: NATS and etcd are written for many, \
         Redis has threads for its sockets. Nothing here says what they do with a whole machine."
            .to_owned(),
        format!(
            "**The same bytes.** One change takes {FRAME} bytes on the wire of each target, its envelope included; the \
             tables say what was counted. When Callboard gathers several changes in a frame, each takes less."
        ),
        "**The same number of connections.** Each watcher has one of its own, with etcd too, where one connection can \
         carry many watchers."
            .to_owned(),
        format!(
            "**Callboard** is the build that packages have (profile `dist`), run as `callboard serve` with {}: no worker is pinged or rate-limited during a \
             measurement. Everything else is as it comes.",
            flags.join(", ")
        ),
        "**Redis** runs with `--save '' --appendonly no --maxclients 15000 --tcp-backlog 4096`; **NATS** without \
         JetStream and with pings put off for an hour; **etcd** with its data in memory (`/dev/shm`) where there is such \
         a place, so that no write waits for a disk. Everything else is as it comes."
            .to_owned(),
        "**They do not promise the same.** Redis and NATS forget a message once it is written: who was away has missed \
         it, and a subscriber that lags is cut off. etcd keeps a history, and agrees on it with others if there are any. \
         Callboard shows newcomers the whole board, folds what a laggard missed, and stores nothing."
            .to_owned(),
        "**The floor** is a loop of the same kind as the engine's with the same options on its sockets. It knows no \
         message: what the publisher wrote it writes to all watchers; who joins is sent as many bytes as Callboard \
         sent. Nothing with one thread and one write for each watcher can be faster but by luck."
            .to_owned(),
        "**Every delivery is counted.** Each watcher must get each publication once, and in order where the protocol has one (puts that are on their way \
         together have none in etcd); Callboard's frames \
         must also lead from revision to revision. A target that loses, repeats or invents something has the reason in \
         place of figures."
            .to_owned(),
        "**Processor time** is that of all threads of a server (`schedstat`), the kernel's work for it included."
            .to_owned(),
    ]
}
