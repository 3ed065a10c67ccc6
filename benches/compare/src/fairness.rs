//! What makes the comparison fair, and what does not: said beside the figures, where people look for it.

use crate::server::ENGINE_FLAGS;
use crate::wire::FRAME;

pub(crate) fn notes() -> Vec<String> {
    let flags = ENGINE_FLAGS.map(|(flag, value)| format!("`--{flag} {value}`"));
    vec![
        "**One machine.** Everything goes over the loopback: no network, no card, no second machine. On the loopback, a \
         write call also carries the bytes through the receiver's side of the stack. So the kernel's part is larger than \
         over a network, and the servers are closer together."
            .to_owned(),
        "**One load.** The same loop, in one thread on a processor of its own, plays all watchers, publishers, callers \
         and providers of every target, and takes the time right after each read. It speaks each protocol directly, \
         etcd's gRPC too, so that no client library is part of a figure."
            .to_owned(),
        "**One processor for each server**, also for those that would use more: NATS and etcd are written for many, \
         Redis has threads for its sockets. This page does not say how fast they are with a whole machine."
            .to_owned(),
        format!(
            "**The same bytes.** One change takes {FRAME} bytes on the wire of each target, its envelope included; the \
             tables show the bytes counted. When Callboard gathers several changes in a frame, each takes less."
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
        "**They do not promise the same.** Redis and NATS forget a message once it is written: a subscriber that was away \
         has missed it, and one that lags is disconnected. etcd keeps a history, and agrees on it with its peers. \
         Callboard sends a new watcher the whole board, folds the changes that a slow one missed, and stores nothing."
            .to_owned(),
        "**The floor** is a loop of the same kind as the engine's with the same options on its sockets. It knows no \
         messages: it writes the publisher's bytes to all watchers, and sends a newcomer as many bytes as Callboard \
         did. No server with one thread and one write for each watcher can be faster."
            .to_owned(),
        "**Every delivery is counted.** Each watcher must get each publication once, and in order where the protocol has an \
         order (etcd has none for concurrent puts). Callboard's frames must also lead from revision to revision. If a \
         target loses, repeats or invents something, the table shows the reason in place of figures."
            .to_owned(),
        "**Processor time** is that of all threads of a server (`schedstat`), the kernel's work for it included."
            .to_owned(),
    ]
}
