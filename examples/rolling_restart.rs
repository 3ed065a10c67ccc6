//! A service is restarted, instance by instance and then all at once, while it is called without a
//! pause; and no call fails. An instance that closes leaves the board at once and finishes what it has;
//! the engine parks calls that `wait` until there is a provider.
//!
//!     cargo run --release --example rolling_restart
//!
//! Ends with exit code 1 if a single call failed. Uses the engine that `CALLBOARD_ADDR` names, or one
//! of its own.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callboard::server::{Server, ServerConfig, ServerHandle};
use callboard::worker::{CallOptions, Client, Context, Fault, Function, Token, Watch, Worker};

const INSTANCES: usize = 3;
const ROUNDS: usize = 3;
const CALLERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a call takes.
const WORK: Duration = Duration::from_millis(2);

/// Between two restarts, so that there is something to see.
const PAUSE: Duration = Duration::from_millis(100);

/// What came of the calls.
#[derive(Default)]
struct Score {
    over: AtomicBool,
    done: AtomicU64,
    failed: AtomicU64,
    slowest_micros: AtomicU64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (engine, _own) = engine()?;
    let mut instances: Vec<Worker> = Vec::new();
    for number in 0..INSTANCES {
        instances.push(start(&engine, number)?);
    }
    let caller = Worker::builder("caller")
        .engine(&engine)?
        .token(Token::from_environment())
        .connect(PATIENCE)?;
    let client = caller.client();
    let score = Score::default();
    let result = thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| load(&client, &score));
        }
        let result = restart_all(&engine, &mut instances, &score);
        score.over.store(true, Ordering::Relaxed);
        result
    });
    result?;
    let (done, failed) = (
        score.done.load(Ordering::Relaxed),
        score.failed.load(Ordering::Relaxed),
    );
    println!(
        "{done} calls, {failed} failed; the slowest took {} ms",
        score.slowest_micros.load(Ordering::Relaxed) / 1000
    );
    caller.close();
    Ok(if failed == 0 && done > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// An instance of the service.
fn start(engine: &str, number: usize) -> Result<Worker, Box<dyn Error>> {
    let square = |_: &Context, n: u64| -> Result<u64, Fault> {
        // Stands for work that takes its time.
        thread::sleep(WORK);
        Ok(n.wrapping_mul(n))
    };
    let worker = Worker::builder(format!("square-{number}"))
        .engine(engine)?
        .token(Token::from_environment())
        .watch(Watch::nothing())
        .connect(PATIENCE)?;
    worker.register([Function::new("math::square").handler(square)])?;
    Ok(worker)
}

/// One instance after the other, several times; then all of them at once.
fn restart_all(
    engine: &str,
    instances: &mut Vec<Worker>,
    score: &Score,
) -> Result<(), Box<dyn Error>> {
    for round in 1..=ROUNDS {
        for (number, instance) in instances.iter_mut().enumerate() {
            thread::sleep(PAUSE);
            // First the new one, and then the drop says goodbye for the old one.
            *instance = start(engine, number)?;
        }
        tell(&format!("round {round}: each instance restarted"), score);
    }
    thread::sleep(PAUSE);
    instances.drain(..).for_each(Worker::close);
    tell("math::square has no provider, its callers wait", score);
    thread::sleep(PAUSE);
    for number in 0..INSTANCES {
        instances.push(start(engine, number)?);
    }
    thread::sleep(PAUSE);
    tell("all instances are back", score);
    Ok(())
}

fn tell(what: &str, score: &Score) {
    let (done, failed) = (&score.done, &score.failed);
    println!(
        "{what}; {} calls so far, {} failed",
        done.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed)
    );
}

/// Calls without a pause.
fn load(client: &Client, score: &Score) {
    let options = CallOptions::new().timeout(PATIENCE).wait();
    for n in 0_u64.. {
        if score.over.load(Ordering::Relaxed) {
            return;
        }
        let began = Instant::now();
        match client.call_with::<u64>("math::square", &n, &options) {
            Ok(square) if square == n.wrapping_mul(n) => {
                score.done.fetch_add(1, Ordering::Relaxed);
            }
            other => {
                println!("a call failed: {other:?}");
                score.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        score.slowest_micros.fetch_max(micros, Ordering::Relaxed);
    }
}

/// Where the engine is, and the engine itself if it is ours.
fn engine() -> Result<(String, Option<ServerHandle>), Box<dyn Error>> {
    if let Some(address) = env::var("CALLBOARD_ADDR").ok().filter(|it| !it.is_empty()) {
        return Ok((address, None));
    }
    let own = Server::spawn(ServerConfig {
        listen: vec!["127.0.0.1:0".parse()?],
        ..ServerConfig::default()
    })?;
    Ok((own.addresses()[0].to_string(), Some(own)))
}
