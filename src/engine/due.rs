//! Who is to be written to, and in which order: first those who are owed frames of their own, such as answers to
//! calls; then, in turns, the audiences that have news, member by member, those who wait to be told that a registration
//! is done, and those who are in the midst of something. An audience with news is one entry, however many members it
//! has. Never writes.

use std::collections::VecDeque;

use slab::Slab;

use super::connection::Connection;
use super::namespace::Namespace;
use super::outbox::Stream;
use super::{ConnId, Engine, live};

/// An audience some of whose members have not heard the news.
#[derive(Debug)]
struct News {
    namespace: usize,
    audience: usize,
    /// Members to look at before other audiences have their turn.
    left: usize,
}

/// Whose turn it is of those who are not owed answers: a large board that somebody reads keeps no news back, and news
/// no board.
#[derive(Debug, Clone, Copy, Default)]
enum Lane {
    #[default]
    News,
    Receipts,
    Others,
}

impl Lane {
    const COUNT: usize = 3;

    fn next(self) -> Self {
        match self {
            Self::News => Self::Receipts,
            Self::Receipts => Self::Others,
            Self::Others => Self::News,
        }
    }
}

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Due {
    replies: VecDeque<ConnId>,
    receipts: VecDeque<ConnId>,
    others: VecDeque<ConnId>,
    news: VecDeque<News>,
    lane: Lane,
}

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.receipts.is_empty()
            && self.others.is_empty()
            && self.news.is_empty()
    }

    /// Queues a connection that is owed frames of its own, unless it is queued as such or can't be written to.
    pub(super) fn reply(&mut self, conn: &mut Connection) {
        if !conn.queued_reply && conn.blocked_since.is_none() {
            conn.queued_reply = true;
            self.replies.push_back(conn.id);
        }
    }

    /// Queues a connection that is owed nothing but the ends of registrations, unless it is queued as such or can't be
    /// written to. Those who are to see what was registered come first, so that the first of them is not told later
    /// than the one who knows already.
    pub(super) fn receipt(&mut self, conn: &mut Connection) {
        if !conn.queued_receipt && conn.blocked_since.is_none() {
            conn.queued_receipt = true;
            self.receipts.push_back(conn.id);
        }
    }

    /// Queues a connection that has more to hear than it was just sent.
    pub(super) fn more(&mut self, conn: &mut Connection) {
        if !conn.queued && conn.blocked_since.is_none() {
            conn.queued = true;
            self.others.push_back(conn.id);
        }
    }

    /// Whatever it is that a connection has to hear.
    pub(super) fn any(&mut self, conn: &mut Connection) {
        if conn.outbox.owes() {
            self.reply(conn);
        } else {
            self.more(conn);
        }
    }

    /// All members of an audience are to hear of its last revision.
    pub(super) fn announce(
        &mut self,
        namespaces: &mut Slab<Namespace>,
        namespace: usize,
        audience: usize,
    ) {
        let it = &mut namespaces[namespace].audiences[audience];
        let left = it.members.len();
        if std::mem::replace(&mut it.unvisited, left) == 0 {
            self.news.push_back(News {
                namespace,
                audience,
                left,
            });
        }
    }

    /// The next member of an audience with news. An audience may be gone by now; another that has its place is
    /// looked at once more than it need be.
    fn next_member(&mut self, namespaces: &mut Slab<Namespace>) -> Option<(ConnId, u64)> {
        while let Some(mut news) = self.news.pop_front() {
            let namespace = namespaces.get_mut(news.namespace);
            let audience = namespace.and_then(|it| it.audiences.get_mut(news.audience));
            let Some(audience) = audience else { continue };
            let Some(member) = audience.visit() else {
                continue;
            };
            news.left = news.left.saturating_sub(1);
            if audience.unvisited > 0 && news.left > 0 {
                self.news.push_front(news);
            } else if audience.unvisited > 0 {
                // There was more news meanwhile: behind the others.
                news.left = audience.unvisited;
                self.news.push_back(news);
            }
            return Some((member, audience.last));
        }
        None
    }
}

impl Engine {
    /// The next connection that is owed frames of its own and is not blocked. Call [`Engine::flush`] for it.
    pub fn poll_reply(&mut self) -> Option<ConnId> {
        while let Some(id) = self.due.replies.pop_front() {
            if let Some(conn) = live(&mut self.connections, id) {
                conn.queued_reply = false;
                if conn.blocked_since.is_none() {
                    return Some(id);
                }
            }
        }
        None
    }

    /// The next connection that has to hear what others hear as well, or more of what it has begun to hear, and is
    /// not blocked. Call [`Engine::flush`] for it.
    pub fn poll_news(&mut self) -> Option<ConnId> {
        for _ in 0..Lane::COUNT {
            let lane = self.due.lane;
            self.due.lane = lane.next();
            let next = match lane {
                Lane::News => self.next_member(),
                Lane::Receipts => self.next_receipt(),
                Lane::Others => self.next_other(),
            };
            if next.is_some() {
                return next;
            }
        }
        // What comes next begins with the news.
        self.due.lane = Lane::News;
        None
    }

    fn next_receipt(&mut self) -> Option<ConnId> {
        while let Some(id) = self.due.receipts.pop_front() {
            if let Some(conn) = live(&mut self.connections, id) {
                conn.queued_receipt = false;
                // It may have got it with something else meanwhile.
                if conn.blocked_since.is_none() && conn.outbox.owes() {
                    return Some(id);
                }
            }
        }
        None
    }

    fn next_other(&mut self) -> Option<ConnId> {
        while let Some(id) = self.due.others.pop_front() {
            if let Some(conn) = live(&mut self.connections, id) {
                conn.queued = false;
                if conn.blocked_since.is_none() {
                    return Some(id);
                }
            }
        }
        None
    }

    fn next_member(&mut self) -> Option<ConnId> {
        while let Some((id, last)) = self.due.next_member(&mut self.namespaces) {
            // Whoever is queued by itself, or blocked, gets the news that way.
            if let Some(conn) = live(&mut self.connections, id)
                && !conn.queued
                && conn.blocked_since.is_none()
                && matches!(&conn.outbox.stream, Stream::Changes(position) if position.at < last)
            {
                return Some(id);
            }
        }
        None
    }
}
