//! Work: an estimate of the time that a step takes the engine, in units of about a tenth of a microsecond. The turn's
//! budget, the shares of users and `--max-share` are counted in it. `cargo bench --bench instructions` and
//! `cargo bench --bench sockets -- attack` show how well the units fit.

/// Units in a hundredth of a second.
pub(crate) const WORK_PER_PERCENT: u64 = 100_000;

/// Work of a connection before the next one has its turn, if others wait.
pub(crate) const QUANTUM: u64 = 1_000;

/// A read from a socket.
pub(crate) const READ: u64 = 10;
/// A frame, whatever is in it.
pub(crate) const FRAME: u64 = 4;
/// Values of a frame that are decoded for one unit. A megabyte of them may have no other effect.
pub(crate) const VALUES_PER_UNIT: u64 = 10;
/// Bytes that are copied once for one unit.
pub(crate) const BYTES_PER_UNIT: u64 = 512;
/// A write to a socket.
pub(crate) const WRITE: u64 = 40;
/// An entry of a registry request, granted or not; a registration that is withdrawn.
pub(crate) const ENTRY: u64 = 5;
/// A binding that an event is looked up for.
pub(crate) const BINDING: u64 = 2;
/// A cast to one provider.
pub(crate) const DELIVERY: u64 = 4;
/// A row of a list.
pub(crate) const ROW: u64 = 5;
/// An entry that is passed over.
pub(crate) const ENTRY_PASSED: u64 = 1;
/// Providers that are compared for one unit.
pub(crate) const PROVIDERS_PER_UNIT: u64 = 50;
/// Rows, granted or passed over, after which a page ends: no page takes longer than this much work.
pub(crate) const PAGE: u64 = 10_000;
/// `engine::stats`.
pub(crate) const STATS: u64 = 200;
/// A new connection.
pub(crate) const ACCEPT: u64 = 20;

/// The least bytes of an entry in a frame.
const ENTRY_BYTES: u64 = 8;

/// The work of a registry request, judged by the length of its frame and the entries that came in frames before it. Many
/// bytes may be few entries: then it is judged as larger than it is.
pub(crate) fn of_batch(frame: usize, before: usize) -> u64 {
    ENTRY * (frame as u64 / ENTRY_BYTES + before as u64)
}

/// The work of copying this many bytes.
pub(crate) fn of_bytes(bytes: usize) -> u64 {
    bytes as u64 / BYTES_PER_UNIT
}
