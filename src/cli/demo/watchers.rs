//! The watching workers: each has a connection, a board, and a thread that records when notices arrive. Checks that
//! all receive the same notices, and only those of what happened.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use callboard::address::Address;
use callboard::worker::{Change, Notice, Snapshot, Step, Worker};

use super::error::DemoError;
use crate::cli::failure::Failure;

/// The timeout of everything in the demo.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A change of one function as shown: `+`, `-` or `~`, and the name.
pub(super) type Sign = (char, String);

/// The watching workers.
pub(super) struct Watchers {
    members: BTreeMap<&'static str, Member>,
    /// The number of workers that joined so far.
    joined: usize,
    news: Receiver<News>,
    tell: Sender<News>,
}

struct Member {
    worker: Worker,
    number: usize,
}

/// A notice to one worker, and when it arrived.
struct News {
    worker: &'static str,
    /// A worker that returns is a new one: late notices to its predecessor do not count.
    number: usize,
    at: Instant,
    notice: Notice,
}

/// A change that has reached all watchers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Push {
    /// When the last watcher received it.
    pub(super) last: Instant,
    /// The number of watchers.
    pub(super) workers: usize,
}

impl Watchers {
    pub(super) fn new() -> Self {
        let (tell, news) = channel();
        Self {
            members: BTreeMap::new(),
            joined: 0,
            news,
            tell,
        }
    }

    /// Connects a worker and records its notices. Returns its first board.
    pub(super) fn join(
        &mut self,
        name: &'static str,
        engine: &Address,
    ) -> Result<Snapshot, Failure> {
        let worker = Worker::builder(name)
            .addresses([engine.clone()])
            .connect(PATIENCE)?;
        let (board, changes) = worker.board_and_changes();
        self.joined += 1;
        let (tell, number) = (self.tell.clone(), self.joined);
        let listen = move || {
            for notice in changes {
                let news = News {
                    worker: name,
                    number,
                    at: Instant::now(),
                    notice,
                };
                if tell.send(news).is_err() {
                    return;
                }
            }
        };
        // Ends with the worker.
        thread::Builder::new()
            .name(format!("demo-{name}"))
            .spawn(listen)
            .map_err(DemoError::System)?;
        self.members.insert(name, Member { worker, number });
        Ok(board)
    }

    /// Removes a worker: its further notices do not count.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Worker> {
        self.members.remove(name).map(|member| member.worker)
    }

    pub(super) fn worker(&self, name: &'static str) -> &Worker {
        &self.members[name].worker
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, &Worker)> {
        let members = self.members.iter();
        members.map(|(name, member)| (*name, &member.worker))
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Waits until each worker received exactly these changes, in one step and as its next notice.
    pub(super) fn expect(&self, wanted: &[Sign]) -> Result<Push, DemoError> {
        let mut wanted = wanted.to_vec();
        wanted.sort();
        let mut missing: Vec<&'static str> = self.members.keys().copied().collect();
        let mut push = None;
        while let Some(first) = missing.first() {
            let news = self.next(first, "a change")?;
            let told = match &news.notice {
                Notice::Step(step) => signs(step),
                other => vec![('?', format!("{other:?}"))],
            };
            if told != wanted || !missing.contains(&news.worker) {
                return Err(DemoError::OtherNews {
                    worker: news.worker,
                    wanted: brief(&wanted),
                    told: brief(&told),
                });
            }
            missing.retain(|name| *name != news.worker);
            push = Some(Push {
                last: news.at,
                workers: self.members.len(),
            });
        }
        push.ok_or(DemoError::Silence {
            worker: "nobody",
            awaited: "a change",
        })
    }

    /// Waits until this worker has lost its connection, taken its session over and synced, while no watcher sees a
    /// change. Returns the times of the loss and of the return.
    pub(super) fn expect_takeover(
        &self,
        name: &'static str,
    ) -> Result<(Instant, Instant), DemoError> {
        let mut lost = None;
        let mut taken_over = false;
        loop {
            let news = self.next(name, "its return")?;
            match &news.notice {
                Notice::Disconnected(_) if news.worker == name => lost = Some(news.at),
                Notice::Connected(connection) if news.worker == name => {
                    taken_over = connection.taken_over;
                }
                Notice::Synced { .. } if news.worker == name && taken_over => {
                    return Ok((lost.unwrap_or(news.at), news.at));
                }
                other => {
                    return Err(DemoError::OtherNews {
                        worker: news.worker,
                        wanted: format!("{name} takes its session over"),
                        told: format!("{other:?}"),
                    });
                }
            }
        }
    }

    fn is_member(&self, news: &News) -> bool {
        let member = self.members.get(news.worker);
        member.is_some_and(|member| member.number == news.number)
    }

    /// The next notice to a member.
    fn next(&self, who: &'static str, awaited: &'static str) -> Result<News, DemoError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(left) {
                Ok(news) if self.is_member(&news) => return Ok(news),
                // To a worker that left.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(DemoError::Silence {
                        worker: who,
                        awaited,
                    });
                }
            }
        }
    }
}

/// The changes of a step, sorted.
fn signs(step: &Step) -> Vec<Sign> {
    let sign = |change: &Change| match change {
        Change::Added(entry) => ('+', entry.name().to_owned()),
        Change::Removed(entry) => ('-', entry.name().to_owned()),
        Change::Updated { new, .. } => ('~', new.name().to_owned()),
        other => ('?', format!("{other:?}")),
    };
    let mut signs: Vec<Sign> = step.changes.iter().map(sign).collect();
    signs.sort();
    signs
}

fn brief(signs: &[Sign]) -> String {
    let named = signs
        .iter()
        .take(3)
        .map(|(sign, name)| format!("{sign} {name}"));
    let named = named.collect::<Vec<_>>().join(", ");
    match signs.len() {
        0..=3 => named,
        many => format!("{named} and {} more", many - 3),
    }
}
