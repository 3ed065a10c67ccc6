//! The weight of idle watching connections: user-space memory of the engine's process, with thousands of
//! connections on an otherwise empty board. The kernel's buffers are not in it.

use callboard::protocol::Message;

use crate::engine::Engine;
use crate::peer::Peer;
use crate::process;

const CONNECTIONS: u64 = 10_000;

/// Bytes that a connection may weigh.
const TARGET: u64 = 600;

pub(super) fn bench() {
    println!("idle: {CONNECTIONS} connections that watch an empty board");
    // Both processes need one per connection, and some.
    process::require_descriptors(CONNECTIONS + 100);
    let mut engine = Engine::start();
    // What the first connection makes the engine set up is not a connection's weight.
    let _first = Peer::join(&engine.address, true);
    let before = engine.report();
    let mut watchers: Vec<Peer> = (0..CONNECTIONS)
        .map(|_| Peer::join(&engine.address, true))
        .collect();
    let joined = engine.report();
    assert_eq!(joined.since(&before, "connections"), CONNECTIONS);
    let weight = joined.since(&before, "memory") / CONNECTIONS;
    println!(
        "  engine before                {:>8} KiB",
        before.get("memory") / 1024
    );
    println!(
        "  engine with all of them      {:>8} KiB",
        joined.get("memory") / 1024
    );
    println!("  a connection                 {weight:>8} bytes");
    println!(
        "  target of {TARGET} bytes         {}",
        if weight <= TARGET {
            "     met"
        } else {
            "  MISSED"
        }
    );

    // A change that all of them hear of leaves nothing behind.
    let mut worker = Peer::join(&engine.address, false);
    worker.register("orders::create", "");
    for watcher in &mut watchers {
        watcher.read_until(|message| matches!(message, Message::Changes(_)));
    }
    let told = engine.report();
    let weight = told.since(&before, "memory") / CONNECTIONS;
    println!("  a connection, after a change {weight:>8} bytes");
}
