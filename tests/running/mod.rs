//! Processes of the real binary for tests: their lines, signals and ends. A watchdog ends each process
//! after a deadline, so that a wait for its output ends too. Knows nothing of what is tested.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use callboard::worker::Worker;

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(30);

/// `callboard` as a process. Its drop kills it.
pub(crate) struct Running {
    child: Arc<Mutex<Child>>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Receiver<String>,
    /// What was read of standard error to its end.
    errors: Vec<String>,
    /// Dropped to call the watchdog off.
    _over: Sender<()>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_for(DEADLINE, arguments, environment)
    }

    /// Its watchdog leaves it this much time.
    pub(crate) fn start_for(
        lifetime: Duration,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        // A shell that runs the tests in the background has them ignore SIGINT, and what they start would, too.
        let mut child = Command::new("env")
            .args(["--default-signal=INT", env!("CARGO_BIN_EXE_callboard")])
            .args(arguments)
            .env_remove("CALLBOARD_ADDR")
            .env_remove("RUST_LOG")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (tell, errors) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let child = Arc::new(Mutex::new(child));
        let (over, watch) = channel::<()>();
        let watched = Arc::clone(&child);
        thread::spawn(move || {
            if watch.recv_timeout(lifetime) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = locked(&watched).kill();
            }
        });
        Self {
            child,
            stdout,
            stderr: errors,
            errors: Vec::new(),
            _over: over,
        }
    }

    /// The next line of standard output.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("not closed");
        stdout.read_line(&mut line).expect("UTF-8");
        let end = line.pop();
        assert_eq!(
            end,
            Some('\n'),
            "it ended; its errors: {}",
            self.all_errors()
        );
        line
    }

    /// The next line of standard output that contains this.
    pub(crate) fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.next_line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The next line of standard error that contains this.
    pub(crate) fn error(&mut self, part: &str) -> String {
        self.errors_until(part).pop().expect("at least that line")
    }

    /// The lines of standard error up to the next one that contains this.
    pub(crate) fn errors_until(&mut self, part: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self
                .stderr
                .recv_timeout(DEADLINE)
                .expect("an error line in time");
            let is_last = line.contains(part);
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    }

    /// The rest of standard error, up to its end.
    pub(crate) fn all_errors(&mut self) -> String {
        self.errors.extend(self.stderr.iter());
        self.errors.join("\n")
    }

    /// The rest of standard output, up to its end.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_string(&mut rest).expect("UTF-8");
        }
        rest
    }

    /// Closes standard output's reading end.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Writes standard input and ends it.
    pub(crate) fn feed(&mut self, input: &[u8]) {
        let stdin = locked(&self.child).stdin.take();
        // It may have ended without reading.
        let _ = stdin.expect("not fed yet").write_all(input);
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        locked(&self.child).id()
    }

    /// Sends a signal, `TERM` or `INT`. The standard library knows SIGKILL only.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id();
        let kill = format!("kill -{name} {id}");
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.expect("a shell").success());
    }

    /// SIGKILL. Waits for the end.
    pub(crate) fn kill(&mut self) {
        let mut child = locked(&self.child);
        let _ = child.kill();
        child.wait().expect("it was started");
    }

    /// Waits for the end by a signal. Returns its number.
    pub(crate) fn killed_by(&mut self) -> i32 {
        self.rest();
        self.all_errors();
        let status = locked(&self.child).wait().expect("it was started");
        status.signal().expect("a signal, not an exit code")
    }

    /// Waits for the end. Returns the exit code.
    pub(crate) fn wait(&mut self) -> i32 {
        self.rest();
        // It ends with the process: to wait for that with the lock held would keep the watchdog out.
        self.all_errors();
        let status = locked(&self.child).wait().expect("it was started");
        status.code().expect("an exit code, not a signal")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn locked(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs to the end. Returns exit code, stdout and stderr.
pub(crate) fn finished(arguments: &[&str]) -> (i32, String, String) {
    let mut running = Running::start(arguments);
    running.feed(b"");
    let stdout = running.rest();
    let mut stderr = running.all_errors();
    if !stderr.is_empty() {
        stderr.push('\n');
    }
    (running.wait(), stdout, stderr)
}

/// `callboard serve` on a free port of 127.0.0.2, where no connection of a test takes the port before it is started
/// again.
pub(crate) struct Engine {
    pub(crate) process: Running,
    pub(crate) address: String,
    settling: String,
}

impl Engine {
    pub(crate) fn start() -> Self {
        Self::start_settling(3000)
    }

    pub(crate) fn start_settling(milliseconds: u64) -> Self {
        let settling = milliseconds.to_string();
        let (process, address) =
            serve("127.0.0.2:0", &["--settling", &settling]).expect("a free port");
        Self {
            process,
            address,
            settling,
        }
    }

    /// Starts again where it was, once it is dead.
    pub(crate) fn restart(&mut self) {
        let served = serve(&self.address, &["--settling", &self.settling]);
        (self.process, _) = served.expect("the port is free again");
    }

    /// Starts `callboard` with these arguments, to talk to this engine.
    pub(crate) fn start_cli(&self, arguments: &[&str]) -> Running {
        Running::start(&self.with_address(arguments))
    }

    /// Runs `callboard` with these arguments, to talk to this engine.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        finished(&self.with_address(arguments))
    }

    /// Behind the command: arguments after `--` belong to the exposed program.
    fn with_address<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let (command, rest) = arguments.split_at(1);
        [command, &["--connect", &self.address], rest].concat()
    }

    /// A worker of this process.
    pub(crate) fn worker(&self, name: &str) -> Worker {
        let builder = Worker::builder(name).engine(&self.address);
        let worker = builder.expect("an address").connect(DEADLINE);
        worker.expect("a connection")
    }
}

/// `callboard serve` with these flags, and where it listens; none if it cannot.
pub(crate) fn serve(listen: &str, flags: &[&str]) -> Option<(Running, String)> {
    let process = Running::start(&[&["serve", "--listen", listen][..], flags].concat());
    let line = process
        .stderr
        .iter()
        .find(|line| line.contains("listening on "))?;
    let address = line.split("listening on ").nth(1)?.to_owned();
    Some((process, address))
}

/// So many names with this prefix, one a line.
pub(crate) fn lines_of(prefix: &str, names: usize) -> String {
    let names: Vec<String> = (0..names).map(|i| format!("{prefix}{i}\n")).collect();
    names.concat()
}
