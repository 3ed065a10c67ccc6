//! Stands in for systemd on one host: obeys the `systemctl` lines of the page, by the unit files that are there. It
//! reads Type=, ExecStart=, ExecReload=, Environment=, EnvironmentFile=, LoadCredential=, Restart=, RestartSec=,
//! RestartPreventExitStatus=; hears READY=1 where Type=notify; keeps what is written to standard error as the
//! journal would. It knows nothing of accounts and of hardening: `deploy/check-units` is about those.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::place::Place;
use super::unit::{Unit, variables, words};

/// Nothing takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// How `journalctl -u NAME` is played: what was written, without the priorities that the journal takes off.
const JOURNALCTL: &str = "#!/bin/sh\nsed 's/^<[0-7]>//' \"/run/log/$2\"\n";

pub(crate) struct Manager {
    place: Arc<Place>,
    services: BTreeMap<String, Service>,
}

/// A unit that was started.
struct Service {
    unit: Unit,
    shared: Arc<Shared>,
    reports: Option<UnixDatagram>,
    /// Starts it again.
    supervisor: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    /// It was told to stop.
    stopping: bool,
    /// It ended, and is not started again.
    over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manager {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        place.must("mkdir -p /run/log/ /run/credentials/");
        place.write("/usr/bin/journalctl", JOURNALCTL, "0755");
        Self {
            place,
            services: BTreeMap::new(),
        }
    }

    /// Obeys one line, `systemctl …`. Returns what it prints.
    pub(crate) fn obey(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let (flags, words): (Vec<&str>, Vec<&str>) =
            words.iter().partition(|word| word.starts_with("--"));
        let (verb, names) = words.split_first().expect("a verb");
        let mut printed = String::new();
        for name in names {
            let name = name.trim_end_matches(".service");
            match *verb {
                "start" => self.start(name),
                "enable" if flags == ["--now"] => self.start(name),
                "stop" => self.stop(name),
                "restart" => {
                    self.stop(name);
                    self.start(name);
                }
                "reload" => self.reload(name),
                "kill" => {
                    let signal = flags.first().and_then(|it| it.strip_prefix("--signal="));
                    self.signal(name, signal.expect("--signal="));
                }
                "is-active" => {
                    let runs = self.services.get(name).is_some_and(Service::runs);
                    printed += if runs { "active\n" } else { "inactive\n" };
                }
                _ => panic!("`{line}`: nobody plays that"),
            }
        }
        assert!(
            !names.is_empty() || *verb == "daemon-reload",
            "`{line}`: nobody plays that"
        );
        printed
    }

    fn start(&mut self, name: &str) {
        if self.services.get(name).is_some_and(Service::runs) {
            return;
        }
        let service = Service::start(&self.place, name);
        self.services.insert(name.to_owned(), service);
    }

    fn stop(&mut self, name: &str) {
        if let Some(mut service) = self.services.remove(name) {
            service.stop();
        }
    }

    fn reload(&mut self, name: &str) {
        let service = self.services.get(name).expect("a unit that runs");
        let main = service.main();
        let line = service.unit.one("ExecReload").expect("ExecReload=");
        self.place.must(&line.replace("$MAINPID", &main));
        service.hears("RELOADING=1");
        service.hears("READY=1");
    }

    fn signal(&self, name: &str, signal: &str) {
        let service = self.services.get(name).expect("a unit that runs");
        kill(&service.main(), signal);
    }
}

fn kill(process: &str, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, process]).status();
    assert!(sent.expect("kill").success(), "kill -s {signal} {process}");
}

impl Service {
    fn start(place: &Arc<Place>, name: &str) -> Self {
        let credentials = format!("/run/credentials/{name}");
        let unit = unit(place, name, &credentials);
        let folder = tempfile::tempdir().expect("a folder");
        let notify = unit.one("Type") == Some("notify");
        let reports = notify.then(|| {
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(path).expect("a socket");
            socket.set_read_timeout(Some(DEADLINE)).expect("a time");
            socket
        });
        let mut start = Start {
            place: place.clone(),
            name: name.to_owned(),
            credentials,
            notify: reports.as_ref().map(|_| folder.path().join("notify")),
        };
        let shared = Arc::new(Shared::default());
        shared.state().child = Some(start.spawn(&unit));
        let pause = Duration::from_millis(unit.milliseconds("RestartSec", 100));
        let again = unit.one("Restart").unwrap_or("no").to_owned();
        let never: Vec<i32> = unit
            .all("RestartPreventExitStatus")
            .iter()
            .filter_map(|code| code.parse().ok())
            .collect();
        let theirs = shared.clone();
        let supervisor = thread::spawn(move || {
            supervise(&theirs, pause, &again, &never, &mut start);
        });
        let service = Self {
            unit,
            shared,
            reports,
            supervisor: Some(supervisor),
            _folder: folder,
        };
        if notify {
            service.hears("READY=1");
        }
        service
    }

    /// Waits until it reports that.
    fn hears(&self, part: &str) {
        let socket = self.reports.as_ref().expect("Type=notify");
        let mut buffer = [0; 1024];
        loop {
            let length = socket.recv(&mut buffer).expect("a report in time");
            if String::from_utf8_lossy(&buffer[..length]).contains(part) {
                return;
            }
        }
    }

    fn runs(&self) -> bool {
        !self.shared.state().over
    }

    /// The id of its process, once there is one.
    fn main(&self) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.shared.state();
        loop {
            if let Some(child) = &state.child {
                return child.id().to_string();
            }
            assert!(Instant::now() < deadline && !state.over, "it is over");
            let woken = self.shared.changed.wait_timeout(state, DEADLINE);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// SIGTERM, SIGCONT, and the end of it.
    fn stop(&mut self) {
        {
            let mut state = self.shared.state();
            state.stopping = true;
            if let Some(child) = &state.child {
                // It may have ended meanwhile, and waits to be asked how.
                for signal in ["TERM", "CONT"] {
                    kill(&child.id().to_string(), signal);
                }
            }
            self.shared.changed.notify_all();
        }
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.join().expect("the supervisor");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            self.shared.state().stopping = true;
            if let Some(child) = &mut self.shared.state().child {
                let _ = child.kill();
            }
            self.shared.changed.notify_all();
        }
    }
}

/// Waits for its end, again and again, and starts it again where the unit says so.
fn supervise(shared: &Shared, pause: Duration, again: &str, never: &[i32], start: &mut Start) {
    let look_again = Duration::from_millis(20);
    loop {
        // Polls for its end without blocking: `stop` needs access meanwhile.
        let mut state = shared.state();
        let ended = match &mut state.child {
            Some(child) => child.try_wait().expect("a child"),
            None => None,
        };
        let Some(status) = ended else {
            let woken = shared.changed.wait_timeout(state, look_again);
            drop(woken);
            continue;
        };
        state.child = None;
        let code = status.code();
        let failed = !status.success();
        let wanted = match again {
            "always" => true,
            "on-failure" => failed && !code.is_some_and(|code| never.contains(&code)),
            _ => false,
        };
        if state.stopping || !wanted {
            state.over = true;
            shared.changed.notify_all();
            return;
        }
        let until = Instant::now() + pause;
        while !state.stopping && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            let woken = shared.changed.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopping {
            state.over = true;
            return;
        }
        let place = start.place.clone();
        let unit = unit(&place, &start.name, &start.credentials);
        state.child = Some(start.spawn(&unit));
        shared.changed.notify_all();
    }
}

/// What a start needs, the first one and those after a crash.
struct Start {
    place: Arc<Place>,
    name: String,
    credentials: String,
    notify: Option<std::path::PathBuf>,
}

impl Start {
    fn spawn(&mut self, unit: &Unit) -> Child {
        let mut set = BTreeMap::new();
        for line in unit.all("Environment") {
            set.extend(variables(line));
        }
        for path in unit.all("EnvironmentFile") {
            let text = self.place.read(path.trim_start_matches('-'));
            assert!(text.is_some() || path.starts_with('-'), "{path}");
            set.extend(variables(&text.unwrap_or_default()));
        }
        let given = unit.all("LoadCredential");
        for credential in &given {
            let (id, path) = credential.split_once(':').expect("ID:PATH");
            let to = &self.credentials;
            self.place.must(&format!(
                "mkdir -p {to} && install -m 0400 {path} {to}/{id}"
            ));
        }
        if !given.is_empty() {
            set.insert("CREDENTIALS_DIRECTORY".to_owned(), self.credentials.clone());
        }
        let start = words(unit.one("ExecStart").expect("ExecStart="), &set);
        // The journal is known by its file's numbers.
        let script = format!(
            "exec >>/run/log/{0} 2>&1; JOURNAL_STREAM=$(stat -Lc %d:%i /run/log/{0}) exec \"$0\" \"$@\"",
            self.name
        );
        let mut command = self.place.command("sh");
        command
            .args(["-c", &self.place.local(&script)])
            .args(start.iter().map(|word| self.place.local(word)))
            .envs(
                set.iter()
                    .map(|(name, value)| (name, self.place.local(value))),
            )
            .stdin(Stdio::null());
        if let Some(path) = &self.notify {
            command.env("NOTIFY_SOCKET", path);
        }
        command.spawn().expect("a process")
    }
}

/// The unit of this name as it stands on the disk, with its drop-ins.
fn unit(place: &Place, name: &str, credentials: &str) -> Unit {
    let (file, instance) = match name.split_once('@') {
        Some((template, instance)) => (format!("{template}@.service"), instance),
        None => (format!("{name}.service"), ""),
    };
    let path = format!("/etc/systemd/system/{file}");
    let text = place.read(&path).unwrap_or_else(|| panic!("no {path}"));
    let drop_ins = place.must(&format!("cat {path}.d/*.conf 2>/dev/null || true"));
    Unit::parse(&[text, drop_ins], instance, credentials)
}
