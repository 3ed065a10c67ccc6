//! A feed: what a reader of a namespace is sent next. Moves a stream on by one frame: RESYNC, a snapshot chunk, SYNCED
//! or a change, which is encoded only if no reader of the audience needed it just before. Knows no connection.

use std::rc::Rc;

use crate::engine::work;
use crate::protocol::{NoExtensions, Resync, Synced, Text};

use super::encoded_change::EncodedChange;
use super::namespace::Namespace;
use super::position::{Cursor, PartPosition, Position, Reader, Stream, resync};

/// The outcome of one step of a feed.
#[derive(Debug)]
pub(crate) enum Next {
    /// A frame to send.
    Frame(Rc<[u8]>),
    /// RESYNC, and its reason.
    Resync(Rc<[u8]>, &'static str),
    /// The stream moved without a frame.
    Moved,
    /// The stream moved a long way without a frame.
    Scanned,
    /// The reader is up to date.
    UpToDate,
}

/// What the steps of a feed did beside the frames.
#[derive(Debug, Default)]
pub(crate) struct FeedCounts {
    /// Changes encoded.
    pub(crate) encodings: u64,
    /// Times that cached frames were evicted for the limit.
    pub(crate) evictions: u64,
    /// The work of encoding.
    pub(crate) work: u64,
}

/// The namespace and the audience of a reader.
#[derive(Debug)]
pub(crate) struct Feed<'a> {
    namespace: &'a mut Namespace,
    audience: usize,
    /// Bytes of encoded changes that the namespace may cache.
    cache_limit: u64,
    counts: FeedCounts,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(namespace: &'a mut Namespace, audience: usize, cache_limit: u64) -> Self {
        Self {
            namespace,
            audience,
            cache_limit,
            counts: FeedCounts::default(),
        }
    }

    pub(crate) fn counts(self) -> FeedCounts {
        self.counts
    }

    /// Whether everything that concerns the reader was sent.
    pub(crate) fn is_up_to_date(&self, position: &Position) -> bool {
        position.within.is_none() && position.at >= self.namespace.audience(self.audience).last()
    }

    /// Moves a stream on by one frame.
    pub(crate) fn next(&mut self, stream: &mut Stream) -> Next {
        let namespace = &mut *self.namespace;
        match stream {
            Stream::Idle => Next::UpToDate,
            Stream::Resync(reason) => {
                let (start, reason) = (namespace.revision(), *reason);
                let frame = Resync {
                    revision: start,
                    reason: Text(reason),
                    ext: NoExtensions {},
                };
                let cursor = Cursor::start(namespace.audience(self.audience).filter());
                *stream = Stream::Snapshot { start, cursor };
                Next::Resync(frame.to_frame().into(), reason)
            }
            // Changes since the start of the snapshot are lost: start over.
            Stream::Snapshot { start, .. } if !namespace.log.reaches(*start) => {
                *stream = Stream::Resync(resync::LOG_TRIMMED);
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
                let filter = namespace.audience(self.audience).filter().clone();
                let (board, roster, bindings) =
                    (&namespace.board, &namespace.roster, &namespace.bindings);
                let pages = &mut namespace.pages;
                let before = pages.encoded();
                let (frame, next) = pages.next(cursor, &filter, board, roster, bindings);
                self.counts.work += work::SNAPSHOT_PAGE * (pages.encoded() - before);
                *cursor = next;
                frame.map_or(Next::Moved, Next::Frame)
            }
            Stream::Changes(position) => {
                if position.within.is_none()
                    && position.at >= namespace.audience(self.audience).last()
                {
                    if position.synced {
                        return Next::UpToDate;
                    }
                    return Next::Frame(self.synced(position));
                }
                if !namespace.log.reaches(position.at) {
                    *stream = Stream::Resync(resync::LOG_TRIMMED);
                    return Next::Moved;
                }
                self.next_change(position)
            }
        }
    }

    /// SYNCED: the reader has the board of the current revision.
    fn synced(&self, position: &mut Position) -> Rc<[u8]> {
        let revision = self.namespace.revision();
        *position = Position {
            synced: true,
            ..Position::new(revision, Reader::Exact)
        };
        let synced = Synced {
            revision,
            ext: NoExtensions {},
        };
        synced.to_frame().into()
    }

    /// Moves a position that is behind on by one frame of a change.
    fn next_change(&mut self, position: &mut Position) -> Next {
        let within = position.within.as_deref().copied();
        if let Some(encoded) = self.namespace.cached(self.audience, position, within) {
            return Next::Frame(next_part(encoded, position, within));
        }
        let audience = self.namespace.audience(self.audience);
        // Frames start at the last revision that concerned the audience, unless the reader was last told an earlier one.
        let (from, to) = match within {
            Some(within) => (within.from, Some(within.to)),
            None => (audience.previous().min(position.told), None),
        };
        let log = &self.namespace.log;
        let (encoded, visited) = log.encode(audience.filter(), position, from, to);
        self.counts.work += work::CHANGE * visited as u64;
        if encoded.parts.is_empty() {
            position.at = encoded.to;
            return Next::Scanned;
        }
        let frame = next_part(&encoded, position, within);
        self.counts.encodings += 1;
        let evicted = self
            .namespace
            .cache(self.audience, encoded, self.cache_limit);
        self.counts.evictions += u64::from(evicted);
        Next::Frame(frame)
    }
}

/// Moves a position on by one part of an encoded change. Returns the part's frame.
#[inline] // Once for each watcher of a change.
fn next_part(
    encoded: &EncodedChange,
    position: &mut Position,
    within: Option<PartPosition>,
) -> Rc<[u8]> {
    let part = within.map_or(0, |within| within.part);
    let (from, to) = (encoded.from, encoded.to);
    if part + 1 < encoded.parts.len() {
        position.within = Some(Box::new(PartPosition {
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
    encoded.parts[part].clone()
}
