//! The service manager's side of the process: takes its sockets, and reports that the engine is ready, the size of
//! the board, the watchdog, reloads and the stop. Decides when to report, on the loop's clock; without a manager it
//! does nothing.

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

/// The shortest interval between two reports of the board's size.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Time that an engine may need to stop beyond its limits.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// The pause before messages are sent again to a manager that had no room.
const RETRY: Duration = Duration::from_millis(100);

/// Microseconds after which the manager considers a silent service stuck.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// Process id that the watchdog is for.
const WATCHED: &str = "WATCHDOG_PID";

/// The part of a process's environment that a service manager such as systemd fills in: listening
/// sockets (`LISTEN_FDS`), where to report to (`NOTIFY_SOCKET`), the watchdog (`WATCHDOG_USEC`).
#[derive(Debug, Default)]
pub struct Service {
    listeners: Vec<Listener>,
    notifier: Option<Notifier>,
    /// Half of the watchdog's timeout.
    feed_every: Option<Duration>,
    /// When to feed the watchdog next.
    feed_at: Time,
    /// When the board's size may be read again.
    look_at: Time,
    /// A turn has passed since the size was last read.
    unseen: bool,
    /// The size reported last.
    told: Option<Size>,
    stopping: bool,
}

impl Service {
    /// Reads the environment of this process; all of it is optional. Takes over the sockets, so a second call finds
    /// none. Must be called before the process opens files or starts threads.
    ///
    /// # Errors
    /// [`BindError::Descriptors`] and [`BindError::NotListening`] for sockets that cannot be served,
    /// [`BindError::System`] for an invalid `NOTIFY_SOCKET`.
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

    /// The addresses of the sockets that the manager passed, in its order.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(Listener::address).collect()
    }

    pub(super) fn take_listeners(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.listeners)
    }

    /// New connections are served from now on: the loop starts, or a reload is complete.
    pub(super) fn handle_ready(&mut self, now: Time, size: Size) {
        self.unseen = false;
        self.look_at = now.after(STATUS_EVERY);
        self.told = Some(size);
        self.tell(format!("READY=1\nSTATUS={size}"));
    }

    /// The engine was asked to stop. Tells the manager to wait for as long as the limits allow.
    pub(super) fn handle_stop(&mut self, limits: &Limits) {
        self.stopping = true;
        let patience = Limits::ms(limits.grace + limits.linger) + STOP_MARGIN;
        self.tell(format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=stopping: draining calls, workers are told when to \
             reconnect",
            patience.as_micros()
        ));
    }

    /// A reload begins; [`Service::handle_ready`] completes it.
    pub(super) fn handle_reload(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        // The manager compares it with the time of its signal.
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// A turn of the loop is complete. Only here the watchdog is fed, so a loop that hangs in a turn, or gets no
    /// processor time, does not feed it.
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

    /// When the loop must turn for the manager's sake.
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

/// Half of the watchdog's timeout, if the watchdog is for this process.
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

    /// A manager, and a service that it watches with this timeout in milliseconds.
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
        // Time alone does not feed the watchdog: the loop hangs.
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
