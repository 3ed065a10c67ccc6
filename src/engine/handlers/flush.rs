//! Flush: the order in which a connection is sent what it is owed. Own frames go first, unless they would overtake a
//! change; then the snapshot or the changes.

use std::io::IoSlice;

use crate::engine::Engine;
use crate::engine::calls::connection_calls::ConnectionCalls;
use crate::engine::connection::Connection;
use crate::engine::connection::outbox::{Outbox, Segment};
use crate::engine::connection::send_buffer::UNORDERED;
use crate::engine::interface::{ConnId, Time, Written};
use crate::engine::metrics::Metrics;
use crate::engine::registry::Registry;
use crate::engine::registry::feed::{Feed, Next};
use crate::engine::registry::position::Stream;
use crate::engine::work;

/// Slices offered in one write.
const SLICES_MAX: usize = 64;
/// Most writes have fewer slices, and need no room for more.
const FEW: usize = 4;
/// Bytes after which no further frame is offered in the same write.
const BYTES_MAX: usize = 256 * 1024;

/// The state after the segments of one write.
struct Gathered {
    /// The stream once all of them are written.
    stream: Stream,
    /// There may be more to send.
    more: bool,
}

impl Engine {
    /// The next connection with replies that is not blocked. Call [`Engine::flush`] for it.
    pub fn poll_reply(&mut self) -> Option<ConnId> {
        if self.has_told_enough() {
            return None;
        }
        self.output.queue().next_reply(&mut self.connections)
    }

    /// The next connection that is owed a change, an acknowledgement, or more of what it was being sent, and is not
    /// blocked. Call [`Engine::flush`] for it.
    pub fn poll_news(&mut self) -> Option<ConnId> {
        self.run.start_news();
        if self.has_told_enough() {
            return None;
        }
        let queue = self.output.queue();
        queue.next_news(&mut self.connections, &mut self.registry)
    }

    /// Whether this turn has written and encoded as much as it may. A stopping engine tells everybody.
    fn has_told_enough(&self) -> bool {
        self.run.has_told_enough() && !self.lifecycle.is_stopped()
    }

    /// A connection that was [`Written::Blocked`] can be written to again.
    pub fn handle_writable(&mut self, id: ConnId) {
        if let Some(conn) = self.connections.get_mut(id)
            && conn.unblock()
        {
            self.output.queue().push(conn);
        }
    }

    /// Offers what is due to `conn` to `write`, in one call (at most 64 slices, and no further frame after 256 KiB).
    pub fn flush(&mut self, id: ConnId, now: Time, write: impl FnOnce(&[IoSlice<'_>]) -> Written) {
        self.judge(id, now);
        let Some(conn) = self.connections.get_mut(id) else {
            return;
        };
        let mut segments = self.output.take_segments();
        self.metrics.invalidate_costly();
        let cache_limit = self.config.limits.cache_bytes;
        let (registry, metrics) = (&mut self.registry, &mut self.metrics);
        let is_change = matches!(conn.outbox().stream(), Stream::Changes(_));
        let user = conn.user();
        let (gathered, encoding) = gather(conn, registry, &mut segments, metrics, cache_limit);
        let (written, offered) = if segments.len() < FEW {
            offer::<FEW>(conn.outbox(), &segments, write)
        } else {
            offer::<{ SLICES_MAX + 1 }>(conn.outbox(), &segments, write)
        };
        let mut work = encoding;
        if offered > 0 {
            self.metrics.count_write();
            work += work::WRITE + work::of_bytes(offered);
        }
        if !self.run.is_in_news() {
            // Those who sent the frames have paid for the replies.
            self.run.tell(work);
        } else if is_change {
            self.run.tell_change(work);
        } else {
            self.run.tell_user(user, work);
        }
        match written {
            Written::Bytes(taken) => {
                let bytes = taken.min(offered);
                let pool = self.output.buffers();
                let progress = conn.outbox_mut().advance(&mut segments, bytes, pool);
                self.metrics.count_written(taken, progress.frames);
                if taken > 0 {
                    conn.note_written(now);
                }
                if progress.all {
                    conn.outbox_mut().set_stream(gathered.stream);
                }
                if !progress.all || gathered.more {
                    // Behind the connections that wait for their first frame.
                    self.output.queue().push_continuation(conn);
                }
                let limit = self.config.limits.max_outbound as usize;
                let resumes = conn.pause().outbound && conn.outbox().bytes() < limit / 2;
                let has_parked = conn.calls().is_some_and(ConnectionCalls::has_parked);
                let is_leaving = conn.is_leaving();
                if resumes {
                    conn.pause_mut().outbound = false;
                    self.resume(id, now);
                }
                if is_leaving {
                    self.continue_close(id);
                }
                if has_parked {
                    let work = self.run_parked(id, now);
                    self.run.tell(work);
                }
            }
            Written::Blocked | Written::Broken => {
                // A reader that reads, however slowly, gets here again and again: only a stall counts. The event loop
                // reports what broke.
                conn.note_blocked(now);
                self.arm(id, now);
            }
        }
        self.output.put_segments(segments);
    }
}

/// Offers segments in one call of `write`, if there are any. Returns its outcome, and the bytes offered.
fn offer<const ROOM: usize>(
    outbox: &Outbox,
    segments: &[Segment],
    write: impl FnOnce(&[IoSlice<'_>]) -> Written,
) -> (Written, usize) {
    let mut slices = [IoSlice::new(&[]); ROOM];
    let (mut count, mut bytes) = (0, 0);
    for (slot, slice) in slices.iter_mut().zip(outbox.slices(segments)) {
        *slot = IoSlice::new(slice);
        count += 1;
        bytes += slice.len();
    }
    let written = match count {
        0 => Written::Bytes(0),
        _ => write(&slices[..count]),
    };
    (written, bytes)
}

/// Collects the segments of the next write, in order. Returns the work of encoding, too.
fn gather(
    conn: &Connection,
    registry: &mut Registry,
    segments: &mut Vec<Segment>,
    metrics: &mut Metrics,
    cache_limit: u64,
) -> (Gathered, u64) {
    let mut feed = conn.audience().map(|(namespace, (audience, _))| {
        Feed::new(&mut registry[namespace], audience, cache_limit)
    });
    let gathered = fill(conn, feed.as_mut(), segments, metrics);
    let mut work = 0;
    if let Some(feed) = feed {
        let counts = feed.counts();
        work = counts.work;
        metrics.count_feed(&counts);
    }
    (gathered, work)
}

/// Collects segments until nothing more is due, or the write is full.
fn fill(
    conn: &Connection,
    mut feed: Option<&mut Feed<'_>>,
    segments: &mut Vec<Segment>,
    metrics: &mut Metrics,
) -> Gathered {
    let outbox = conn.outbox();
    let mut stream = outbox.stream().clone();
    let (mut own, mut bytes) = (0, 0);
    let more = loop {
        if segments.len() >= SLICES_MAX || bytes >= BYTES_MAX {
            break true;
        }
        if let Some(len) = next_own(outbox, own, &stream, feed.as_deref()) {
            segments.push(Segment::Own(len));
            own += 1;
            bytes += len;
            continue;
        }
        // A leaving connection is sent changes only as far as its own frames wait for them.
        if conn.is_leaving() && own == outbox.own_runs() {
            break false;
        }
        let Some(feed) = &mut feed else { break false };
        let frame = match feed.next(&mut stream) {
            Next::Frame(frame) => frame,
            Next::Resync(frame, reason) => {
                metrics.count_resync(reason);
                frame
            }
            Next::Moved => continue,
            // A long scan of the log found nothing: let other connections have their turn.
            Next::Scanned => break true,
            Next::UpToDate => break false,
        };
        bytes += frame.len();
        segments.push(Segment::Shared {
            frame,
            after: stream.clone(),
        });
    };
    Gathered { stream, more }
}

/// The length of the `index`-th run of own frames, if it would overtake no change.
fn next_own(
    outbox: &Outbox,
    index: usize,
    stream: &Stream,
    feed: Option<&Feed<'_>>,
) -> Option<usize> {
    let (stamp, len) = outbox.own_run(index)?;
    let may_go = stamp == UNORDERED
        || match (stream, feed) {
            (Stream::Idle, _) | (_, None) => true,
            (Stream::Changes(position), Some(feed)) => {
                position.synced && (stamp <= position.at || feed.is_up_to_date(position))
            }
            _ => false,
        };
    may_go.then_some(len)
}
