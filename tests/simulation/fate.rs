//! What befalls a worker: it drains, its handlers come to their end early, it loses its connection, its process goes.
//! It checks nothing.

use crate::context::Context;
use crate::journal::note;
use crate::worker::{Stage, Worker};

impl Worker {
    /// Leaves the board, and goes when it has answered what it runs.
    pub(crate) fn drain(&mut self) {
        note!("{} drains", self.name);
        self.stage = Stage::Draining;
        self.link.drain();
    }

    /// Handlers run, for calls that came over its present connection.
    pub(crate) fn is_busy(&self) -> bool {
        self.link.connection().is_some() && self.link.in_flight().0 > 0
    }

    /// Its handlers come to their end.
    pub(crate) fn hurry(&mut self, now: u64) {
        for job in &mut self.jobs {
            job.until = now;
        }
    }

    /// Its connection is gone: it makes the next one at once.
    pub(crate) fn reconnect(&mut self, context: &mut Context<'_>) {
        let loss = self.link.handle_end(None, context.instant());
        self.lose(&loss, context);
        self.dial_at = context.now;
    }

    /// The process is gone; it is told nothing any more.
    pub(crate) fn crash(&mut self, context: &mut Context<'_>) {
        note!("{} crashes", self.name);
        self.stage = Stage::Over;
        for intent in std::mem::take(&mut self.calls).into_values() {
            context.oracle.intents[intent].dropped = true;
        }
        self.hang_up(context);
    }

    /// Its process ends and has written all.
    pub(crate) fn go(&mut self, context: &mut Context<'_>) {
        self.write(context);
        self.crash(context);
    }

    /// Somebody else writes to its connection.
    pub(crate) fn spoil(&mut self, context: &mut Context<'_>) {
        let is_all = self.out.is_empty() && self.link.output_bytes() == 0;
        if let Some(wire) = self.wire.and_then(|it| context.wires.get_mut(&it))
            && is_all
        {
            wire.up.write(&[0; 4], context.now);
            (self.spoils, self.spoiled) = (false, true);
        }
    }
}
