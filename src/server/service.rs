//! What a service manager gives this process, and what it is told in return: that the engine is ready,
//! how much is on the board, that the loop still turns, that it reloads, that it stops. Decides when to
//! tell, and counts time as the loop gives it; without a manager it does nothing.

use std::env;
use std::process;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::activation;
use super::error::BindError;
use super::listener::Listener;
use super::notifier::Notifier;
use crate::address::Address;
use crate::engine::{Size, Time};
use crate::limits::Limits;

/// The time between two looks at the size of the board, at least.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// What an engine may take to end beyond its limits.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// The pause before a manager without room is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Microseconds after which the manager takes a silent service for stuck.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// Whom it watches.
const WATCHED: &str = "WATCHDOG_PID";

/// The part of a process's environment that a service manager such as systemd fills in: listening
/// sockets (`LISTEN_FDS`), where to report to (`NOTIFY_SOCKET`), the watchdog (`WATCHDOG_USEC`).
#[derive(Debug, Default)]
pub struct Service {
    listeners: Vec<Listener>,
    notifier: Option<Notifier>,
    /// Half the time that the manager waits.
    feed_every: Option<Duration>,
    /// When the manager is told next that the loop turns.
    feed_at: Time,
    /// When the size of the board may be looked at again.
    look_at: Time,
    /// There was a turn that the size was not looked at after.
    unseen: bool,
    /// The size that the manager was told.
    told: Option<Size>,
    stopping: bool,
}

impl Service {
    /// What the environment of this process says; all of it may be missing. Sockets are taken over once:
    /// a second call finds none. To be called first of all, before the process opens files or starts
    /// threads.
    ///
    /// # Errors
    /// [`BindError::Descriptors`] and [`BindError::NotListening`] for sockets that cannot be served,
    /// [`BindError::System`] for a `NOTIFY_SOCKET` that is no address.
    pub fn from_environment() -> Result<Self, BindError> {
        let listeners = activation::take()?;
        let notifier = Notifier::from_environment().map_err(BindError::System)?;
        Ok(Self {
            listeners,
            feed_every: notifier.as_ref().and_then(|_| feed_every()),
            notifier,
            ..Self::default()
        })
    }

    /// Where the sockets listen that were given, in the order in which they were.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(Listener::address).collect()
    }

    pub(super) fn take_listeners(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.listeners)
    }

    /// Who connects now is served: the loop begins, or a reload is over.
    pub(super) fn handle_ready(&mut self, now: Time, size: Size) {
        self.unseen = false;
        self.look_at = now.after(STATUS_EVERY);
        self.told = Some(size);
        self.tell(format!("READY=1\nSTATUS={size}"));
    }

    /// The engine was asked to end. The manager must wait for as long as these limits let it take.
    pub(super) fn handle_stop(&mut self, limits: &Limits) {
        self.stopping = true;
        let patience = Limits::ms(limits.grace + limits.linger) + STOP_MARGIN;
        self.tell(format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=stopping: calls may end, workers are told when to \
             come back",
            patience.as_micros()
        ));
    }

    /// What can be read anew while the engine runs is about to be; [`Service::handle_ready`] ends it.
    pub(super) fn handle_reload(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        // The manager compares it with the moment of its signal.
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// A turn of the loop is over. Only here is the watchdog fed: a loop that hangs in the middle of a
    /// turn, or is not given the processor, is not.
    pub(super) fn handle_turn(&mut self, now: Time, size: impl FnOnce() -> Size) {
        let Some(notifier) = &mut self.notifier else {
            return;
        };
        if notifier.is_behind() {
            notifier.send_kept();
        }
        if let Some(every) = self.feed_every
            && now >= self.feed_at
        {
            self.feed_at = now.after(every);
            self.tell("WATCHDOG=1".to_owned());
        }
        self.unseen = !self.stopping;
        if self.unseen && now >= self.look_at {
            self.look(now, size());
        }
    }

    /// When the loop has to turn for the manager's sake, if it has no other reason to.
    pub(super) fn next_due(&self, now: Time) -> Option<Time> {
        let notifier = self.notifier.as_ref()?;
        let feed = self.feed_every.map(|_| self.feed_at);
        let look = self.unseen.then_some(self.look_at);
        let retry = notifier.is_behind().then(|| now.after(RETRY));
        [feed, look, retry].into_iter().flatten().min()
    }

    fn look(&mut self, now: Time, size: Size) {
        self.unseen = false;
        self.look_at = now.after(STATUS_EVERY);
        if self.told != Some(size) {
            self.told = Some(size);
            self.tell(format!("STATUS={size}"));
        }
    }

    fn tell(&mut self, message: String) {
        if let Some(notifier) = &mut self.notifier {
            notifier.send(message);
        }
    }
}

/// Half of what the manager waits for, if it watches this process.
fn feed_every() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let whole = number(WATCHDOG).filter(|micros| *micros > 0)?;
    let ours = env::var_os(WATCHED).is_none() || number(WATCHED) == Some(process::id().into());
    ours.then(|| Duration::from_micros(whole / 2))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A manager, and a service that it watches with this many milliseconds of patience.
    fn managed(patience: Option<u64>) -> (tempfile::TempDir, UnixDatagram, Service) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let service = Service {
            notifier: Some(Notifier::to(path.as_ref()).unwrap()),
            feed_every: patience.map(|ms| Duration::from_millis(ms / 2)),
            ..Service::default()
        };
        (dir, manager, service)
    }

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 256];
        let mut all = Vec::new();
        while let Ok(length) = manager.recv(&mut buffer) {
            all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        all
    }

    fn ms(milliseconds: u64) -> Time {
        Time(milliseconds * 1000)
    }

    fn size(functions: u64) -> Size {
        Size {
            functions,
            ..Size::default()
        }
    }

    #[test]
    fn the_watchdog_is_fed_by_turns_at_half_its_patience_and_by_nothing_else() {
        let (_dir, manager, mut service) = managed(Some(100));
        service.handle_ready(ms(0), size(0));
        assert_eq!(heard(&manager).len(), 1);
        assert_eq!(service.next_due(ms(0)), Some(ms(0)));
        service.handle_turn(ms(0), || size(0));
        assert_eq!(heard(&manager), ["WATCHDOG=1"]);
        assert_eq!(service.next_due(ms(1)), Some(ms(50)), "an idle loop wakes");
        service.handle_turn(ms(49), || size(0));
        assert_eq!(heard(&manager), [""; 0]);
        service.handle_turn(ms(50), || size(0));
        assert_eq!(heard(&manager), ["WATCHDOG=1"]);
        // Time alone feeds nobody: the loop hangs.
        assert_eq!(service.next_due(ms(5000)), Some(ms(100)));
        assert_eq!(heard(&manager), [""; 0]);
    }

    #[test]
    fn the_size_is_told_when_it_changed_and_at_most_once_a_second() {
        let (_dir, manager, mut service) = managed(None);
        service.handle_ready(ms(0), size(0));
        assert_eq!(
            heard(&manager),
            ["READY=1\nSTATUS=0 functions of 0 workers, 0 connections"]
        );
        assert_eq!(service.next_due(ms(0)), None, "nothing happens");
        for at in 1..999 {
            service.handle_turn(ms(at), || panic!("looked at too often"));
        }
        assert_eq!(service.next_due(ms(999)), Some(ms(1000)));
        service.handle_turn(ms(1000), || size(1));
        assert_eq!(
            heard(&manager),
            ["STATUS=1 function of 0 workers, 0 connections"]
        );
        assert_eq!(service.next_due(ms(1000)), None, "idle again");
        service.handle_turn(ms(3000), || size(1));
        assert_eq!(heard(&manager), [""; 0]);
        assert_eq!(service.next_due(ms(3000)), None);
    }

    #[test]
    fn the_manager_waits_for_as_long_as_the_limits_let_the_end_take() {
        let (_dir, manager, mut service) = managed(None);
        let limits = Limits {
            grace: 60_000,
            linger: 1000,
            ..Limits::default()
        };
        service.handle_stop(&limits);
        let told = heard(&manager).remove(0);
        assert!(
            told.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=66000000\n"),
            "{told}"
        );
        service.handle_turn(ms(5000), || panic!("the size of what ends"));
        assert_eq!(service.next_due(ms(5000)), None);
    }

    #[test]
    fn without_a_manager_there_is_nothing_to_do() {
        let mut service = Service::default();
        service.handle_ready(ms(0), size(0));
        service.handle_turn(ms(5000), || panic!("nobody wants to know"));
        assert_eq!(service.next_due(ms(5000)), None);
    }
}
