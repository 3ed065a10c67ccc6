//! A program that runs once for each call: JSON on its standard input, JSON on its standard output. It gets a
//! process group of its own, so that its child processes end with it. Knows processes and pipes, nothing of workers
//! and engines.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::text;

/// Bytes at the end of standard error that become part of a failure.
const ERRORS_KEPT: usize = 1024;

/// How often a running program is checked: a cancellation cannot be waited for together with it.
const LOOK: Duration = Duration::from_millis(20);

/// After its death, how long to wait for its output. Only a process that left the group can hold the pipe open for
/// that long.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// A program with its arguments, and its current runs.
#[derive(Debug)]
pub(super) struct Program {
    command: Vec<String>,
    /// The most bytes of standard output.
    max_output: usize,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// Nothing is started any more.
    over: bool,
    groups: HashSet<Pid>,
}

/// One run of the program.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// Its standard input.
    pub(super) input: Vec<u8>,
    /// Additions to its environment.
    pub(super) environment: &'a [(&'static str, String)],
    /// When to kill it.
    pub(super) deadline: Option<Instant>,
}

/// Why a run has no output.
#[derive(Debug)]
pub(super) enum ProgramError {
    /// It could not be started.
    Start(String, io::Error),
    /// It ended with a non-zero exit code or by a signal; with the end of its standard error.
    Exit(ExitStatus, String),
    /// It printed more than this many bytes and was killed.
    TooLong(usize),
    /// It exceeded its deadline and was killed.
    Deadline,
    /// Its call was cancelled and it was killed.
    Cancelled,
    /// A pipe or a thread failed.
    System(io::Error),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(program, error) => {
                write!(f, "cannot start {}: {error}", text::visible(program))
            }
            Self::Exit(status, errors) => {
                match (status.code(), status.signal()) {
                    (Some(code), _) => write!(f, "exit code {code}")?,
                    (None, Some(signal)) => write!(f, "killed by signal {signal}")?,
                    (None, None) => write!(f, "{status}")?,
                }
                match &**errors {
                    "" => Ok(()),
                    errors => write!(f, ": {errors}"),
                }
            }
            Self::TooLong(limit) => write!(f, "it printed more than {limit} bytes"),
            Self::Deadline => f.write_str("killed because it exceeded the deadline"),
            Self::Cancelled => f.write_str("killed because the call was cancelled"),
            Self::System(error) => write!(f, "the system refused a required resource: {error}"),
        }
    }
}

impl std::error::Error for ProgramError {}

/// Reports of the threads around a process.
enum Event {
    /// The process ended; its id is not free yet.
    Ended,
    /// All of standard output, or why it could not be read.
    Output(Result<Vec<u8>, ProgramError>),
    /// The end of standard error.
    Errors(Vec<u8>),
}

impl Program {
    /// `command` is the program with its arguments.
    pub(super) fn new(command: Vec<String>, max_output: usize) -> Self {
        Self {
            command,
            max_output,
            running: Mutex::default(),
        }
    }

    /// Whether there is no program.
    pub(super) fn is_none(&self) -> bool {
        self.command.is_empty()
    }

    /// Runs it to its end, or kills it. Returns its standard output.
    pub(super) fn run(
        &self,
        run: Run<'_>,
        cancelled: impl Fn() -> bool,
    ) -> Result<Vec<u8>, ProgramError> {
        let name = self.command.first().map_or("", String::as_str);
        let mut child = Command::new(name)
            .args(self.command.get(1..).unwrap_or_default())
            .envs(run.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that Ctrl-C does not reach it, and so that all of it can be killed at once.
            .process_group(0)
            .spawn()
            .map_err(|error| ProgramError::Start(name.to_owned(), error))?;
        let group = Pid::from_child(&child);
        let welcome = self.enter(group);
        let result = match self.attend(&mut child, run.input) {
            Ok(events) if welcome => wait(&events, group, run.deadline, cancelled),
            Ok(_) => Err(ProgramError::Cancelled),
            Err(error) => Err(ProgramError::System(error)),
        };
        // The group's id is not free before the wait below, so it cannot be another's.
        kill(group);
        self.running().groups.remove(&group);
        let status = child.wait().map_err(ProgramError::System)?;
        match result {
            Ok((output, _)) if status.success() => Ok(output),
            Ok((_, errors)) => Err(ProgramError::Exit(status, tail(&errors))),
            Err(error) => Err(error),
        }
    }

    /// Kills all runs, and starts nothing any more.
    pub(super) fn end(&self) {
        let mut running = self.running();
        running.over = true;
        running.groups.iter().copied().for_each(kill);
    }

    /// Registers a process; `false` if nothing may run any more.
    fn enter(&self, group: Pid) -> bool {
        let mut running = self.running();
        running.groups.insert(group);
        !running.over
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads that feed a process and collect its output. They end after it.
    fn attend(&self, child: &mut Child, input: Vec<u8>) -> io::Result<Receiver<Event>> {
        let (tell, events) = channel();
        if let Some(mut stdin) = child.stdin.take() {
            // A program need not read its input.
            start(move || drop(stdin.write_all(&input)))?;
        }
        if let Some(stdout) = child.stdout.take() {
            let (tell, limit) = (tell.clone(), self.max_output);
            start(move || send(&tell, Event::Output(read_all(stdout, limit))))?;
        }
        if let Some(stderr) = child.stderr.take() {
            let tell = tell.clone();
            start(move || send(&tell, Event::Errors(read_end(stderr))))?;
        }
        let id = Pid::from_child(child);
        start(move || {
            // It stays a zombie, so that its id is not reused.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(id), options) {}
            send(&tell, Event::Ended);
        })?;
        Ok(events)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("program".to_owned());
    thread.spawn(work).map(drop)
}

/// The receiver is gone once the call is over.
fn send(tell: &Sender<Event>, event: Event) {
    let _ = tell.send(event);
}

fn kill(group: Pid) {
    // It has ended already, or ends now.
    let _ = kill_process_group(group, Signal::KILL);
}

/// Waits until the process has ended and its output is complete. Returns standard output and the end of standard
/// error.
fn wait(
    events: &Receiver<Event>,
    group: Pid,
    deadline: Option<Instant>,
    cancelled: impl Fn() -> bool,
) -> Result<(Vec<u8>, Vec<u8>), ProgramError> {
    let (mut output, mut errors, mut ended) = (None, None, None);
    loop {
        match events.recv_timeout(LOOK) {
            Ok(Event::Output(read)) => output = Some(read?),
            Ok(Event::Errors(read)) => errors = Some(read),
            Ok(Event::Ended) => {
                ended = Some(Instant::now());
                // Child processes left behind would hold the pipes open.
                kill(group);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        let late = |since: Instant| since.elapsed() > AFTERWARDS;
        if ended.is_some_and(|since| (output.is_some() && errors.is_some()) || late(since)) {
            return Ok((output.unwrap_or_default(), errors.unwrap_or_default()));
        }
        if ended.is_none() && cancelled() {
            return Err(ProgramError::Cancelled);
        }
        if ended.is_none() && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ProgramError::Deadline);
        }
    }
}

fn read_all(from: impl Read, limit: usize) -> Result<Vec<u8>, ProgramError> {
    let mut bytes = Vec::new();
    let mut bounded = from.take(limit as u64 + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(ProgramError::System)?;
    if bytes.len() > limit {
        return Err(ProgramError::TooLong(limit));
    }
    Ok(bytes)
}

/// Reads to the end, but keeps only what is shown.
fn read_end(mut from: impl Read) -> Vec<u8> {
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..n]);
        let surplus = kept.len().saturating_sub(ERRORS_KEPT);
        kept.drain(..surplus);
    }
    kept
}

/// The end of standard error as one harmless line.
fn tail(errors: &[u8]) -> String {
    let text = String::from_utf8_lossy(errors);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(text::visible).collect();
    lines.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Program {
        let command = ["sh", "-c", script].map(str::to_owned);
        Program::new(command.into(), 100_000)
    }

    fn run(program: &Program, input: &[u8]) -> Result<Vec<u8>, ProgramError> {
        let run = Run {
            input: input.to_owned(),
            environment: &[("CALLBOARD_FUNCTION", "a::b".to_owned())],
            deadline: Some(Instant::now() + PATIENCE),
        };
        program.run(run, || false)
    }

    #[test]
    fn what_it_prints_is_the_result() {
        assert_eq!(run(&shell("cat"), b"{}").unwrap(), b"{}");
        let input = vec![b'x'; 100_000];
        assert_eq!(run(&shell("cat"), &input).unwrap(), input);
        let name = run(&shell("printf %s $CALLBOARD_FUNCTION"), b"").unwrap();
        assert_eq!(name, b"a::b");
        // It need not read its input.
        assert_eq!(run(&shell("echo 1"), &input).unwrap(), b"1\n");
    }

    #[test]
    fn a_failure_tells_the_end_of_its_errors_harmlessly() {
        let script = "i=0; while [ $i -lt 500 ]; do echo line$i >&2; i=$((i+1)); done; \
                      printf '\\033[31mlast\\n' >&2; exit 3";
        let error = run(&shell(script), b"").unwrap_err().to_string();
        assert!(error.starts_with("exit code 3: "), "{error}");
        assert!(error.ends_with("line499 | \\u{1b}[31mlast"), "{error}");
        assert!(error.len() < 2 * ERRORS_KEPT, "{error}");
        let error = run(&shell("kill -9 $$"), b"").unwrap_err();
        assert_eq!(error.to_string(), "killed by signal 9");
        let nothing = Program::new(vec!["/no/such/program".to_owned()], 1);
        assert!(matches!(run(&nothing, b""), Err(ProgramError::Start(..))));
    }

    #[test]
    fn too_much_output_ends_it() {
        let error = run(&shell("while :; do echo yes; done"), b"").unwrap_err();
        assert!(matches!(error, ProgramError::TooLong(100_000)), "{error}");
    }

    #[test]
    fn its_children_die_with_it() {
        // The pipe would stay open as long as one of them lives.
        let began = Instant::now();
        assert_eq!(run(&shell("sleep 600 & echo 1"), b"").unwrap(), b"1\n");
        let run = Run {
            input: Vec::new(),
            environment: &[],
            deadline: Some(Instant::now() + Duration::from_millis(50)),
        };
        let error = shell("sleep 600; echo 1").run(run, || false).unwrap_err();
        assert!(matches!(error, ProgramError::Deadline), "{error}");
        let run = Run {
            input: Vec::new(),
            environment: &[],
            deadline: None,
        };
        let error = shell("sleep 600; echo 1").run(run, || true).unwrap_err();
        assert!(matches!(error, ProgramError::Cancelled), "{error}");
        assert!(began.elapsed() < PATIENCE);
    }

    #[test]
    fn after_the_end_nothing_runs() {
        let program = shell("sleep 600");
        thread::scope(|scope| {
            let running = scope.spawn(|| run(&program, b"").unwrap_err());
            while program.running().groups.is_empty() {
                thread::yield_now();
            }
            program.end();
            let error = running.join().unwrap();
            assert!(matches!(error, ProgramError::Exit(..)), "{error}");
        });
        let error = run(&program, b"").unwrap_err();
        assert!(matches!(error, ProgramError::Cancelled), "{error}");
    }
}
