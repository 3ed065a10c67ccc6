//! What goes out: the order in which a connection is sent what it is owed. Own frames go first, unless they
//! would overtake a change; then the snapshot or the changes, wherever the connection stands.

use std::io::IoSlice;

use crate::protocol::{NoExtensions, Resync, Synced, Text};

use super::audience::Reader;
use super::connection::{Connection, Phase};
use super::namespace::Namespace;
use super::outbox::{Outbox, Piece, Position, Stream, Within};
use super::own::ANY_TIME;
use super::snapshot::Cursor;
use super::stats::Stats;
use super::{ConnId, Engine, Time, Written};
use crate::limits::Limits;

/// Slices offered in one write.
const SLICES_MAX: usize = 64;
/// Most writes are of fewer, and need no room for more.
const FEW: usize = 4;
/// Bytes after which no further frame is offered in the same write.
const BYTES_MAX: usize = 256 * 1024;

/// The reason for a snapshot of those whom the log does not reach.
pub(super) const LOG_TRIMMED: &str = "log_trimmed";

/// The reason for a snapshot of those who may see something else from now on.
pub(super) const RIGHTS_CHANGED: &str = "rights_changed";

/// What the gathering of one write left behind.
struct Gathered {
    /// Where the stream stands when all is written.
    stream: Stream,
    /// There may be more to send.
    more: bool,
}

impl Engine {
    /// Offers what is due to `conn` to `write`, in one call (at most 64 slices, and no further frame after
    /// 256 KiB).
    pub fn flush(&mut self, id: ConnId, now: Time, write: impl FnOnce(&[IoSlice<'_>]) -> Written) {
        let Some(conn) = super::live(&mut self.connections, id) else {
            return;
        };
        let mut pieces = std::mem::take(&mut self.pieces);
        self.looked_up.set(None);
        let cache = self.config.limits.cache_bytes;
        let (namespaces, stats) = (&mut self.namespaces, &mut self.stats);
        let gathered = gather(conn, namespaces, &mut pieces, stats, cache);
        let (written, bytes) = if pieces.len() < FEW {
            offer::<FEW>(&conn.outbox, &pieces, write)
        } else {
            offer::<{ SLICES_MAX + 1 }>(&conn.outbox, &pieces, write)
        };
        self.writes += u64::from(bytes > 0);
        match written {
            Written::Bytes(taken) => {
                self.stats.bytes_out += taken as u64;
                let outbox = &mut conn.outbox;
                let advanced = outbox.advance(&mut pieces, taken.min(bytes), &mut self.spare);
                let all = advanced.all;
                self.stats.frames_out += advanced.frames;
                if taken > 0 && std::mem::take(&mut conn.stalled) {
                    conn.heard = now;
                }
                if all {
                    conn.outbox.stream = gathered.stream;
                }
                if !all || gathered.more {
                    // Behind those who wait for their first answer.
                    self.due.more(conn);
                }
                let relieved = conn.pause.outbound
                    && conn.outbox.bytes() < self.config.limits.max_outbound as usize / 2;
                let hungry = conn
                    .traffic
                    .as_ref()
                    .is_some_and(|traffic| traffic.is_hungry());
                if relieved {
                    conn.pause.outbound = false;
                    self.unpause(id, now);
                }
                self.finish_if_paid(id);
                if hungry {
                    self.serve(id, now);
                }
            }
            Written::Blocked => {
                // Whoever reads, however slowly, gets here again and again: only a stall counts.
                conn.blocked_since = Some(now);
                conn.stalled = true;
                self.arm(id, now);
            }
            Written::Broken => conn.blocked_since = Some(now),
        }
        pieces.clear();
        self.pieces = pieces;
    }
}

/// Offers pieces in one call of `write`, if there are any. Returns what became of it, and how much was offered.
fn offer<const ROOM: usize>(
    outbox: &Outbox,
    pieces: &[Piece],
    write: impl FnOnce(&[IoSlice<'_>]) -> Written,
) -> (Written, usize) {
    let mut slices = [IoSlice::new(&[]); ROOM];
    let (mut count, mut bytes) = (0, 0);
    for (slot, slice) in slices.iter_mut().zip(outbox.slices(pieces)) {
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

/// Collects what is to be written next, in order.
fn gather(
    conn: &mut Connection,
    namespaces: &mut slab::Slab<Namespace>,
    pieces: &mut Vec<Piece>,
    stats: &mut Stats,
    cache: u64,
) -> Gathered {
    let audience = conn
        .identity
        .as_ref()
        .and_then(|identity| identity.audience);
    let mut watch = match (&conn.identity, audience) {
        (Some(identity), Some((audience, _))) => Some(Watching {
            namespace: &mut namespaces[identity.namespace],
            audience,
            stats,
            cache,
        }),
        _ => None,
    };
    let leaving = matches!(conn.phase, Phase::Leaving { .. });
    let outbox = &conn.outbox;
    let mut stream = outbox.stream.clone();
    let (mut own, mut bytes) = (0, 0);
    loop {
        if pieces.len() >= SLICES_MAX || bytes >= BYTES_MAX {
            return Gathered { stream, more: true };
        }
        if let Some(len) = next_own(outbox, own, &stream, watch.as_ref()) {
            pieces.push(Piece::Own(len));
            own += 1;
            bytes += len;
            continue;
        }
        // One that leaves is sent changes only as far as its own frames wait for them.
        if leaving && own == outbox.own_count() {
            return Gathered {
                stream,
                more: false,
            };
        }
        let Some(watch) = &mut watch else {
            return Gathered {
                stream,
                more: false,
            };
        };
        match watch.next(&mut stream) {
            Next::Frame(frame) => {
                bytes += frame.len();
                pieces.push(Piece::Shared {
                    frame,
                    after: stream.clone(),
                });
            }
            Next::Moved => {}
            // A long look into the log found nothing: let others have their turn.
            Next::Looked => return Gathered { stream, more: true },
            Next::UpToDate => {
                return Gathered {
                    stream,
                    more: false,
                };
            }
        }
    }
}

/// The length of the `index`-th run of own frames, if it would overtake no change.
fn next_own(
    outbox: &Outbox,
    index: usize,
    stream: &Stream,
    watch: Option<&Watching<'_>>,
) -> Option<usize> {
    let (stamp, len) = outbox.own(index)?;
    let may_go = stamp == ANY_TIME
        || match (stream, watch) {
            (Stream::Nothing, _) | (_, None) => true,
            (Stream::Changes(position), Some(watch)) => {
                position.synced && (stamp <= position.at || watch.is_up_to_date(position))
            }
            _ => false,
        };
    may_go.then_some(len)
}

/// What a stream came to.
enum Next {
    /// A frame to send.
    Frame(std::rc::Rc<[u8]>),
    /// It moved without a frame.
    Moved,
    /// It moved a long way without a frame.
    Looked,
    /// Nothing is missing.
    UpToDate,
}

/// A connection's namespace and audience.
struct Watching<'a> {
    namespace: &'a mut Namespace,
    audience: usize,
    stats: &'a mut Stats,
    /// Bytes of encoded changes that the namespace may keep.
    cache: u64,
}

impl Watching<'_> {
    fn is_up_to_date(&self, position: &Position) -> bool {
        position.within.is_none() && position.at >= self.namespace.audiences[self.audience].last
    }

    /// Moves a stream on by one frame.
    fn next(&mut self, stream: &mut Stream) -> Next {
        let namespace = &mut *self.namespace;
        let cover = namespace.audiences[self.audience].cover.clone();
        match stream {
            Stream::Nothing => Next::UpToDate,
            Stream::Begin(reason) => {
                let start = namespace.revision();
                *self.stats.resyncs.entry(reason).or_default() += 1;
                if *reason == LOG_TRIMMED {
                    self.stats.count_limited(Limits::FLAGS.log_bytes);
                }
                let resync = Resync {
                    revision: start,
                    reason: Text(reason),
                    ext: NoExtensions {},
                };
                *stream = Stream::Snapshot {
                    start,
                    cursor: Cursor::begin(&cover),
                };
                Next::Frame(resync.to_frame().into())
            }
            // Changes since the snapshot began are lost: start over.
            Stream::Snapshot { start, .. } if !namespace.log.reaches(*start) => {
                *stream = Stream::Begin(LOG_TRIMMED);
                Next::Moved
            }
            Stream::Snapshot {
                start,
                cursor: Cursor::End,
            } => {
                *stream = Stream::Changes(Position::new(*start, Reader::Fuzzy));
                Next::Moved
            }
            Stream::Snapshot { cursor, .. } => {
                let Namespace {
                    pages,
                    board,
                    roster,
                    bindings,
                    ..
                } = namespace;
                let (frame, next) = pages.next(cursor, &cover, board, roster, bindings);
                *cursor = next;
                frame.map_or(Next::Moved, Next::Frame)
            }
            Stream::Changes(position) => {
                if position.within.is_none()
                    && position.at >= namespace.audiences[self.audience].last
                {
                    if position.synced {
                        return Next::UpToDate;
                    }
                    let revision = namespace.revision();
                    *position = Position {
                        synced: true,
                        ..Position::new(revision, Reader::Exact)
                    };
                    let synced = Synced {
                        revision,
                        ext: NoExtensions {},
                    };
                    return Next::Frame(synced.to_frame().into());
                }
                if !namespace.log.reaches(position.at) {
                    *stream = Stream::Begin(LOG_TRIMMED);
                    return Next::Moved;
                }
                self.next_change(position)
            }
        }
    }

    /// Moves a position that is behind on by one frame, which is encoded only if nobody of the audience
    /// needed it just before.
    fn next_change(&mut self, position: &mut Position) -> Next {
        let audience = &self.namespace.audiences[self.audience];
        let within = position.within.as_deref().copied();
        let kept = match within {
            Some(within) => audience.encoded_between(position, within).is_some(),
            None => audience.encoded_for(position).is_some(),
        };
        if !kept {
            // Frames begin at the last revision that concerned the audience, unless the reader was last
            // told an earlier one.
            let (from, to) = match within {
                Some(within) => (within.from, Some(within.to)),
                None => (audience.previous.min(position.told), None),
            };
            let encoded = self
                .namespace
                .log
                .encode(&audience.cover, position, from, to);
            if encoded.parts.is_empty() {
                position.at = encoded.to;
                return Next::Looked;
            }
            self.stats.encodings += 1;
            if self.namespace.keep(self.audience, encoded, self.cache) {
                self.stats.count_limited(Limits::FLAGS.cache_bytes);
            }
        }
        let audience = &self.namespace.audiences[self.audience];
        let encoded = match within {
            Some(within) => audience.encoded_between(position, within),
            None => audience.encoded_for(position),
        };
        let encoded = encoded.expect("kept, or encoded just now");
        let part = within.map_or(0, |within| within.part);
        let frame = encoded.parts[part].clone();
        let (from, to) = (encoded.from, encoded.to);
        if part + 1 < encoded.parts.len() {
            position.within = Some(Box::new(Within {
                from,
                to,
                part: part + 1,
            }));
        } else {
            *position = Position {
                synced: position.synced,
                ..Position::new(to, position.reader)
            };
        }
        Next::Frame(frame)
    }
}
