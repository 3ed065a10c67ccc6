//! Work: an estimate of the time that a step takes the engine, in units of about a tenth of a microsecond. The budget of
//! a turn and the shares of users are counted in it. The estimates were measured on a virtual server, on boards that
//! exceed its caches; `cargo bench --bench sockets -- attack` shows how long turns get.

use crate::protocol::Unregister;

/// The work of one thing of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Units.
    pub(crate) time: u64,
    /// The part of it that `--max-share` is charged for: that of expensive requests.
    pub(crate) share: u64,
}

/// Work that no share is charged for.
const fn common(time: u64) -> Cost {
    Cost { time, share: 0 }
}

/// Work that is charged whole.
const fn charged(time: u64) -> Cost {
    Cost { time, share: time }
}

/// Units in a hundredth of a second.
pub(crate) const WORK_PER_PERCENT: u64 = 100_000;

/// Work of a connection before the next one has its turn, if others wait.
pub(crate) const QUANTUM: u64 = 1_000;

/// Rows, granted or passed over, after which a page ends: no page takes longer than this much work.
pub(crate) const PAGE: u64 = 12_000;

/// Values of a frame that are decoded for one unit. A megabyte of them may have no other effect.
pub(crate) const VALUES_PER_UNIT: u64 = 10;
/// Bytes that are copied for one unit, into an outbox and from there to the kernel.
pub(crate) const BYTES_PER_UNIT: u64 = 125;
/// Providers that are compared for one unit.
pub(crate) const PROVIDERS_PER_UNIT: u64 = 50;

/// Connections that are counted for one unit.
pub(crate) const CONNECTIONS_PER_UNIT: u64 = 20;

/// A read from a socket.
pub(crate) const READ: u64 = 10;
/// A write to a socket.
pub(crate) const WRITE: u64 = 40;
/// A new connection.
pub(crate) const ACCEPT: u64 = 100;
/// A connection that is judged by new credentials.
pub(crate) const JUDGEMENT: u64 = 20;
/// A deadline that has passed.
pub(crate) const DEADLINE: u64 = 10;
/// A change that is looked at for a watch.
pub(crate) const CHANGE: u64 = 4;
/// A page of a snapshot that is encoded.
pub(crate) const SNAPSHOT_PAGE: u64 = 1_000;

/// A frame, whatever is in it.
pub(crate) const FRAME: Cost = common(4);
/// HELLO, beside its frame.
pub(crate) const HELLO: Cost = common(60);
/// CALL, beside its frame.
pub(crate) const CALL: Cost = common(8);
/// CAST, beside its frame.
pub(crate) const CAST: Cost = common(9);
/// A request that is refused, beside its frame.
pub(crate) const REFUSAL: Cost = common(9);
/// A registration that a takeover marks, or finds unconfirmed.
pub(crate) const MARK: Cost = common(1);
/// A value of the arguments of the engine's own functions, an entry that a list passes over, and the like.
pub(crate) const LOOK: Cost = charged(1);
/// An entry of a registry request, granted or not; a registration that is withdrawn.
pub(crate) const ENTRY: Cost = Cost { time: 12, share: 5 };
/// A binding that is found for an event.
pub(crate) const BINDING: Cost = Cost { time: 8, share: 2 };
/// A cast of an event to one provider.
pub(crate) const DELIVERY: Cost = Cost { time: 12, share: 1 };
/// A row of a list.
pub(crate) const ROW: Cost = Cost { time: 10, share: 5 };
/// `engine::stats`.
pub(crate) const STATS: Cost = charged(200);

/// The least bytes of a name of UNREGISTER, and of an entry of another registry request, in a frame.
const NAME_BYTES: u64 = 2;
const ENTRY_BYTES: u64 = 6;

/// The work of a registry request, judged by the length of its frame and the entries that came in frames before it. Many
/// bytes may be few entries: then it is judged as larger than it is.
pub(crate) fn of_batch(kind: u64, frame: usize, before: usize) -> u64 {
    let least = if kind == Unregister::KIND {
        NAME_BYTES
    } else {
        ENTRY_BYTES
    };
    ENTRY.time * (frame as u64 / least + before as u64)
}

/// The work of copying this many bytes.
pub(crate) fn of_bytes(bytes: usize) -> u64 {
    bytes as u64 / BYTES_PER_UNIT
}
