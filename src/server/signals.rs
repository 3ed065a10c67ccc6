//! SIGTERM, SIGINT and SIGHUP as an event source of the loop. Acts on none of them.

use std::io;

use mio::{Interest, Registry};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::poll_token::{SIGNALS, own_token};

/// SIGTERM, SIGINT and SIGHUP as an event source.
pub(super) struct SignalSource(Signals);

/// The requests that signals made.
#[derive(Debug, Default)]
pub(super) struct ReceivedSignals {
    /// How many kinds of signals asked for a stop; several signals of one kind count once.
    pub(super) stops: u32,
    pub(super) reload: bool,
}

impl SignalSource {
    /// Takes over the three signals of this process.
    pub(super) fn register(registry: &Registry) -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        registry.register(&mut signals, own_token(SIGNALS), Interest::READABLE)?;
        Ok(Self(signals))
    }

    /// The signals received since the last call.
    pub(super) fn take(&mut self) -> ReceivedSignals {
        let mut signalled = ReceivedSignals::default();
        for signal in self.0.pending() {
            match signal {
                SIGHUP => signalled.reload = true,
                _ => signalled.stops += 1,
            }
        }
        signalled
    }
}

impl std::fmt::Debug for SignalSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSource")
    }
}
