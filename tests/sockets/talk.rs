//! What a peer says as a caller and as a provider: calls, answers, and what came of them. Waits for
//! frames only, and never longer than the peer does.

use callboard::address::Address;
use callboard::protocol::{
    Bin, Call, CallOptions, Cancel, Drain, Executed, Failure, Outcome, Text,
};
use callboard::server::ServerHandle;

use crate::peer::{Greeting, Peer};
use crate::reader::{CallEnding, Invocation, WatchFilter};

/// A CALL without extensions.
pub(crate) fn plain() -> CallOptions<'static> {
    CallOptions::default()
}

/// Waits for a provider.
pub(crate) fn waiting() -> CallOptions<'static> {
    CallOptions {
        wait: true,
        ..plain()
    }
}

/// May run more than once.
pub(crate) fn idempotent() -> CallOptions<'static> {
    CallOptions {
        idempotent: true,
        ..plain()
    }
}

/// Has so little time that its deadline is sure to come while the test runs.
pub(crate) fn hurried() -> CallOptions<'static> {
    CallOptions {
        timeout_ms: Some(100),
        ..plain()
    }
}

pub(crate) fn result(payload: &[u8]) -> CallEnding {
    CallEnding::Result(payload.to_vec())
}

/// Code and `executed` of a failure that the engine speaks; a result or a function's own fails the test.
#[track_caller]
pub(crate) fn failed(ending: &CallEnding) -> (&str, Executed) {
    match ending {
        CallEnding::Failure(it) if !it.from_function => (&it.code, it.executed),
        other => panic!("no failure of the engine: {other:?}"),
    }
}

/// What the engine dropped, by reason, in the order of the words.
pub(crate) fn dropped(server: &ServerHandle) -> Vec<(&'static str, u64)> {
    let stats = server.stats().expect("it runs");
    stats.dropped.into_iter().collect()
}

impl Peer {
    /// Joins as a provider that takes so many calls at once.
    pub(crate) fn join_with_capacity(
        address: &Address,
        name: &str,
        filter: &WatchFilter,
        capacity: u64,
    ) -> Self {
        let capacity = Some(capacity);
        let greeting = Greeting {
            capacity,
            ..Greeting::new(name, filter)
        };
        let mut peer = Self::greet(address, &greeting);
        peer.sync();
        peer
    }

    /// Sends a call; returns its id.
    pub(crate) fn call(&mut self, function: &str, payload: &[u8], ext: CallOptions<'_>) -> u64 {
        let id = self.request();
        self.reader.calls.insert(id);
        let call = Call {
            id,
            function: Text(function),
            payload: Bin(payload),
            ext,
        };
        self.send(&call.to_frame());
        id
    }

    /// Reads until the call has ended.
    pub(crate) fn outcome(&mut self, id: u64) -> CallEnding {
        self.read_until("the call's end", |reader| {
            reader.call_endings.contains_key(&id)
        });
        self.reader.call_endings[&id].clone()
    }

    /// Calls and reads until the call has ended.
    pub(crate) fn call_out(
        &mut self,
        function: &str,
        payload: &[u8],
        ext: CallOptions<'_>,
    ) -> CallEnding {
        let id = self.call(function, payload, ext);
        self.outcome(id)
    }

    /// Whether the call has no ending yet, by what the engine said up to now.
    pub(crate) fn still_waits_for(&mut self, id: u64) -> bool {
        self.ping();
        !self.reader.call_endings.contains_key(&id)
    }

    /// Reads until so many INVOKEs have come in all, and gives all of them.
    pub(crate) fn invoked(&mut self, count: usize) -> Vec<Invocation> {
        self.read_until("INVOKE", |reader| reader.invocations().count() >= count);
        self.reader.invocations().cloned().collect()
    }

    /// The INVOKE after those before.
    pub(crate) fn next_invoke(&mut self, before: usize) -> Invocation {
        self.invoked(before + 1).swap_remove(before)
    }

    /// How many INVOKEs the engine has sent up to now.
    pub(crate) fn invokes_until_now(&mut self) -> usize {
        self.ping();
        self.reader.invocations().count()
    }

    pub(crate) fn answer(&mut self, id: u64, payload: &[u8]) {
        self.send(&answer_frame(id, payload));
    }

    pub(crate) fn answer_failure(&mut self, failure: &Failure<'_>) {
        self.send(&failure.to_frame());
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        let cancel = Cancel {
            id,
            ..Cancel::default()
        };
        self.send(&cancel.to_frame());
    }

    pub(crate) fn drain(&mut self) {
        self.send(&Drain::default().to_frame());
    }
}

pub(crate) fn answer_frame(id: u64, payload: &[u8]) -> Vec<u8> {
    let outcome = Outcome {
        id,
        payload: Bin(payload),
        ..Outcome::default()
    };
    outcome.to_frame()
}
