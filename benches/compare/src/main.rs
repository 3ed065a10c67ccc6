//! Callboard beside others, in one run: puts each question of `benches/README.md` to a bare loop, to Callboard and to
//! the servers that are installed, and writes what came out as a page of Markdown with plots.

mod board;
mod calls;
mod churn;
mod comparison;
mod crowd;
#[path = "../../../tests/fleet/exchange.rs"]
mod exchange;
mod fairness;
mod fanout;
mod figures;
mod floor;
mod growth;
mod idle;
mod join;
#[allow(dead_code, reason = "each user has its own part")]
#[path = "../../sockets/load.rs"]
mod load;
mod machine;
mod options;
mod page;
mod payloads;
#[allow(dead_code, reason = "each user has its own part")]
#[path = "../../sockets/peer.rs"]
mod peer;
mod plot;
#[allow(dead_code, reason = "each user has its own part")]
#[path = "../../sockets/process.rs"]
mod process;
mod processors;
mod questions;
#[path = "../../sockets/relay.rs"]
mod relay;
mod requests;
mod rush;
mod section;
mod server;
mod stalled;
mod target;
mod wire;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use rustix::process::{Resource, getrlimit, setrlimit};
use signal_hook::consts::TERM_SIGNALS;
use signal_hook::iterator::Signals;

use crate::options::Options;
use crate::page::Page;
use crate::questions::Questions;
use crate::server::{Kind, Server};
use crate::target::Programs;

fn main() -> ExitCode {
    if let Some(role) = process::role() {
        return match role.split(' ').next() {
            Some(floor::ROLE) => floor::serve(),
            Some(relay::ROLE) => relay::serve(&role),
            _ => panic!("no such role: {role}"),
        };
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match options::parse(&arguments) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    match run(&options, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, arguments: &[String]) -> Result<(), Box<dyn Error>> {
    allow_all_descriptors();
    process::require_descriptors(options.descriptors());
    let engine = match &options.engine {
        Some(engine) => engine.clone(),
        None => build()?,
    };
    let scratch = scratch()?;
    end_with_signals(scratch.path().to_owned())?;
    let (mut peers, mut skipped) = (Vec::new(), Vec::new());
    for kind in Kind::PEERS {
        match peer(kind, options.peers, scratch.path()) {
            Ok(program) => peers.push((kind, program)),
            Err(reason) => skipped.push(format!("**Skipped: {}** {reason}.", kind.name())),
        }
    }
    let programs = Programs {
        engine,
        peers,
        scratch: scratch.path().to_owned(),
    };
    let machine = machine::describe(&programs);
    // Whatever is started from here on is pinned.
    processors::take_the_loads();
    let questions = Questions {
        programs: &programs,
        effort: options.effort,
        only: &options.only,
        began: Instant::now(),
    };
    let date = machine::date();
    let (sections, failures) = questions.ask();
    let mut fairness = fairness::notes();
    fairness.extend(skipped);
    let page = Page {
        warnings: [warnings(options), failures.clone()].concat(),
        date,
        command: command(arguments),
        machine,
        sections,
        fairness,
    };
    write(&page, options)?;
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("; ").into()),
    }
}

/// A peer's program, if it takes part: it must be there and start.
fn peer(kind: Kind, wanted: bool, scratch: &Path) -> Result<PathBuf, String> {
    if !wanted {
        return Err("was left out, as asked for".to_owned());
    }
    let (_, package) = kind.program();
    let missing = || format!("is not installed (Debian's package is `{package}`)");
    let program = kind.find().ok_or_else(missing)?;
    Server::start(kind, &program, scratch)?;
    Ok(program)
}

/// What repeats this run.
fn command(arguments: &[String]) -> String {
    let words = arguments.iter().map(|word| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    });
    let words: Vec<String> = words.collect();
    let run = "cargo run --release --manifest-path benches/compare/Cargo.toml --";
    format!("{run} {}", words.join(" ")).trim_end().to_owned()
}

fn warnings(options: &Options) -> Vec<String> {
    let quick = options.effort.quick.then(|| {
        "A quick run: a tenth of the rounds and of the connections. It shows that the comparison works, not what \
         anything costs."
            .to_owned()
    });
    quick.into_iter().chain(options.notes.clone()).collect()
}

fn write(page: &Page, options: &Options) -> Result<(), Box<dyn Error>> {
    let plots = options.out.join(page::PLOTS);
    std::fs::create_dir_all(&plots)?;
    for section in &page.sections {
        let svg = plot::svg(&section.plot)?;
        std::fs::write(plots.join(format!("{}.svg", section.key)), svg)?;
    }
    let text = page.markdown();
    let file = options.out.join("BENCHMARKS.md");
    std::fs::write(&file, &text)?;
    println!("{text}");
    eprintln!("written: {} and {}/*.svg", file.display(), plots.display());
    Ok(())
}

/// Builds the engine as packages have it.
fn build() -> Result<PathBuf, Box<dyn Error>> {
    let root = options::root();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--profile",
            "dist",
            "--locked",
            "--bin",
            "callboard",
            "--manifest-path",
        ])
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target"))
        .status()?;
    if !built.success() {
        return Err("the engine could not be built".into());
    }
    Ok(root.join("target/dist/callboard"))
}

/// As many file descriptors as this program may give itself; what it starts inherits that.
fn allow_all_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it may not after all, what is needed is checked next.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A folder for what servers store; in memory if there is such a place.
fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// A signal ends this program, what it stored, and by that the servers.
fn end_with_signals(scratch: PathBuf) -> std::io::Result<()> {
    let mut signals = Signals::new(TERM_SIGNALS)?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            drop(std::fs::remove_dir_all(scratch));
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
