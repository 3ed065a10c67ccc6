//! A source of events as an ordinary worker: it watches who is bound to the event `interval`, reads how
//! often from the binding's config, and casts to the bound function on that schedule. Whoever wants to
//! be called regularly binds a function; the source needs no configuration. A cron worker or an HTTP
//! gateway works the same way.
//!
//!     cargo run --release --example interval_events
//!
//! Ends once every subscriber was called often enough, with exit code 1 if that takes too long. Uses
//! the engine that `CALLBOARD_ADDR` names, or one of its own.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use callboard::server::{Server, ServerConfig, ServerHandle};
use callboard::worker::{
    Binding, Change, Changes, Client, Context, Fault, Function, Notice, Snapshot, Token, Watch,
    Worker,
};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(10);

/// The event that this source serves.
const EVENT: &str = "interval";

/// Ticks of each subscriber until the example ends.
const TICKS: u64 = 5;

/// What a binding's config says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Schedule {
    every_ms: u64,
}

/// What a bound function is given.
#[derive(Debug, Serialize, Deserialize)]
struct Tick {
    /// Counts from 1, binding by binding.
    number: u64,
    binding: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (engine, _own) = engine()?;
    let source = Worker::builder("interval")
        .engine(&engine)?
        .token(Token::from_environment())
        .watch(Watch::nothing().bindings([EVENT]))
        .connect(PATIENCE)?;
    let (board, changes) = source.board_and_changes();
    let client = source.client();
    let serving = thread::spawn(move || serve(&client, &board, changes));

    let (tell, ticks) = channel();
    let fast = subscriber(&engine, "pulse", 20, tell.clone())?;
    let slow = subscriber(&engine, "report", 50, tell)?;

    let mut seen: HashMap<String, u64> = HashMap::new();
    let began = Instant::now();
    while seen.len() < 2 || seen.values().any(|ticks| *ticks < TICKS) {
        let left = PATIENCE.saturating_sub(began.elapsed());
        let (who, tick) = ticks
            .recv_timeout(left)
            .map_err(|_| "the ticks stay away")?;
        println!(
            "{:6.3} s  {who} tick {}",
            began.elapsed().as_secs_f64(),
            tick.number
        );
        *seen.entry(who).or_default() += 1;
    }
    // Its binding leaves with it: the source stops to cast to it.
    slow.close();
    fast.close();
    source.close();
    serving.join().map_err(|_| "the source panicked")?;
    println!("after {:.3} s: {seen:?}", began.elapsed().as_secs_f64());
    Ok(())
}

/// The source: casts whenever something is due, and hears of bindings in between.
fn serve(client: &Client, board: &Snapshot, mut changes: Changes) {
    let mut plan = Plan::default();
    for binding in &board.bindings {
        plan.add(binding);
    }
    loop {
        let wait = plan.next().map_or(PATIENCE, |due| {
            due.saturating_duration_since(Instant::now())
        });
        match changes.recv_timeout(wait) {
            Ok(Some(Notice::Step(step))) => {
                for change in &step.changes {
                    plan.apply(change);
                }
            }
            Ok(None | Some(Notice::Ended(_))) => return,
            // Something is due.
            Ok(Some(_)) | Err(_) => {}
        }
        for (function, tick) in plan.due() {
            if let Err(error) = client.cast(&function, &tick) {
                println!("{function} is not called: {error}");
            }
        }
    }
}

/// What is to be called when.
#[derive(Default)]
struct Plan {
    entries: HashMap<(String, String), Appointment>,
}

struct Appointment {
    every: Duration,
    due: Instant,
    number: u64,
}

impl Plan {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::BindingAdded(binding) | Change::BindingUpdated { new: binding, .. } => {
                self.add(binding);
            }
            Change::BindingRemoved(binding) => {
                println!("          {} is not bound any more", binding.function());
                self.entries.remove(&key(binding));
            }
            _ => {}
        }
    }

    fn add(&mut self, binding: &Binding) {
        // The watch matches all events that begin so.
        if binding.event() != EVENT {
            return;
        }
        // Others wrote the config: what makes no sense is said and left alone.
        let every = match binding.config::<Schedule>() {
            Ok(Some(schedule)) if schedule.every_ms > 0 => Duration::from_millis(schedule.every_ms),
            other => {
                println!("          {}: no schedule: {other:?}", binding.function());
                return;
            }
        };
        println!("          {} is bound, every {every:?}", binding.function());
        let appointment = Appointment {
            every,
            due: Instant::now() + every,
            number: 0,
        };
        self.entries.insert(key(binding), appointment);
    }

    /// When the next one is due.
    fn next(&self) -> Option<Instant> {
        self.entries.values().map(|it| it.due).min()
    }

    /// Takes what is due now, and puts each down for the next time.
    fn due(&mut self) -> Vec<(String, Tick)> {
        let now = Instant::now();
        let mut ticks = Vec::new();
        for ((function, id), it) in &mut self.entries {
            if it.due > now {
                continue;
            }
            // Being late shifts nothing, and what was missed is not made up for.
            while it.due <= now {
                it.due += it.every;
            }
            it.number += 1;
            let tick = Tick {
                number: it.number,
                binding: id.clone(),
            };
            ticks.push((function.clone(), tick));
        }
        ticks
    }
}

fn key(binding: &Binding) -> (String, String) {
    (binding.function().to_owned(), binding.id().to_owned())
}

/// Somebody who wants to be called regularly.
fn subscriber(
    engine: &str,
    name: &'static str,
    every_ms: u64,
    tell: Sender<(String, Tick)>,
) -> Result<Worker, Box<dyn Error>> {
    let function = format!("{name}::tick");
    let tick = move |_: &Context, tick: Tick| -> Result<(), Fault> {
        // At the end of the example no worker listens any more.
        let _ = tell.send((name.to_owned(), tick));
        Ok(())
    };
    let worker = Worker::builder(name)
        .engine(engine)?
        .token(Token::from_environment())
        .watch(Watch::nothing())
        .connect(PATIENCE)?;
    worker.register([Function::new(&*function).handler(tick)])?;
    worker.bind([Binding::new(EVENT, &*function).with_config(&Schedule { every_ms })?])?;
    Ok(worker)
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
