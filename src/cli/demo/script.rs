//! The acts of the demo. Each changes one thing, waits until every worker was notified, and fails if one was
//! notified of anything else.

use std::collections::BTreeMap;
use std::time::Instant;

use callboard::address::Address;
use callboard::server::{Server, ServerConfig, ServerHandle};
use callboard::worker::{Watch, Worker};

use super::calls::{self, Answers, Waiting};
use super::error::DemoError;
use super::proxy::Proxy;
use super::reports::{self, Process};
use super::screen::Screen;
use super::watchers::{Sign, Watchers};
use crate::cli::failure::Failure;
use crate::cli::output::Colour;
use crate::cli::text;

/// The watching workers, in order of appearance.
const CAST: [&str; 5] = ["web", "orders", "stock", "mail", "audit"];

/// Functions with their descriptions.
const ORDERS: [(&str, &str); 3] = [
    ("orders::create", "Takes an order"),
    ("orders::cancel", "Takes an order back"),
    ("orders::list", "What was ordered"),
];
const STOCK: [(&str, &str); 2] = [
    ("stock::count", "How many are left"),
    ("stock::reserve", "Puts one aside"),
];
const MAIL: [(&str, &str); 1] = [("mail::send", "Sends a letter")];

/// Calls made to see which provider answers.
const CALLS: usize = 10;

pub(super) fn run(screen: Screen) -> Result<(), Failure> {
    let engine = Server::spawn(ServerConfig {
        listen: vec![Address::Tcp("127.0.0.1:0".to_owned())],
        name: "demo".to_owned(),
        ..ServerConfig::default()
    })?;
    let address = engine.addresses()[0].clone();
    let proxy = Proxy::to(&address.to_string()).map_err(DemoError::System)?;
    let mut script = Script {
        screen,
        watchers: Watchers::new(),
        engine,
        address,
        proxy,
    };
    script.open()?;
    script.register_some()?;
    let process = script.start_process()?;
    script.unregister_one()?;
    script.kill_process(process)?;
    script.crash()?;
    script.pull_cable()?;
    script.provide_twice()?;
    script.wait_for_a_provider()?;
    script.close()
}

struct Script {
    screen: Screen,
    watchers: Watchers,
    engine: ServerHandle,
    address: Address,
    proxy: Proxy,
}

impl Script {
    fn open(&mut self) -> Result<(), Failure> {
        let paint = self.screen.paint();
        let title = paint.text(Colour::Bold, "Callboard: a live function board");
        self.screen.line(&title)?;
        for name in CAST {
            // Its connection will be cut later.
            let engine = match name {
                "orders" => self.proxy.address(),
                _ => &self.address,
            };
            self.watchers.join(name, engine)?;
        }
        let line = format!(
            "An engine at {}, five workers: {}.",
            self.address,
            CAST.join(", ")
        );
        self.screen.line(&line)?;
        self.screen
            .line("Each has one TCP connection and sees the whole board, which is empty.")?;
        self.screen
            .line("Times run from the call until the last worker had the change on its board.")
    }

    fn register_some(&mut self) -> Result<(), Failure> {
        self.screen
            .act("orders registers three functions in one call.")?;
        self.register("orders", &ORDERS)?;
        self.screen.act("stock and mail register theirs.")?;
        self.register("stock", &STOCK)?;
        self.register("mail", &MAIL)?;
        self.show_board()
    }

    fn start_process(&mut self) -> Result<Process, Failure> {
        let line = format!(
            "reports joins, a process of its own, with {} functions.",
            reports::FUNCTIONS
        );
        self.screen.act(&line)?;
        let began = Instant::now();
        let process = Process::start(&self.address)?;
        let signs: Vec<Sign> = reports::names().map(|name| ('+', name)).collect();
        let push = self.watchers.expect(&signs)?;
        // Starting a process takes longer than the notification.
        self.screen.pushed(&signs, began, push, false)?;
        let line = format!(
            "(from the start of process {}; one step: no worker sees half)",
            process.id()
        );
        let line = self.screen.paint().text(Colour::Dim, line);
        self.screen.remark(&line)?;
        self.show_board()?;
        Ok(process)
    }

    fn unregister_one(&mut self) -> Result<(), Failure> {
        self.screen
            .act("orders unregisters one function and keeps the others.")?;
        let began = Instant::now();
        self.watchers
            .worker("orders")
            .unregister(["orders::list"])?;
        self.told(&[('-', "orders::list")], began)
    }

    fn kill_process(&mut self, mut process: Process) -> Result<(), Failure> {
        let line = format!(
            "kill -9 {}: reports is gone, without GOODBYE.",
            process.id()
        );
        self.screen.act(&line)?;
        let signs: Vec<Sign> = reports::names().map(|name| ('-', name)).collect();
        let began = Instant::now();
        process.kill()?;
        let push = self.watchers.expect(&signs)?;
        self.screen.pushed(&signs, began, push, true)?;
        self.show_board()
    }

    fn crash(&mut self) -> Result<(), Failure> {
        self.screen
            .act("mail crashes too: its socket is dropped.")?;
        let began = Instant::now();
        if let Some(mail) = self.watchers.take("mail") {
            mail.abort();
        }
        self.told(&[('-', "mail::send")], began)?;

        self.screen
            .act("mail is back: it sees the whole board first, then registers again.")?;
        let began = Instant::now();
        let board = self.watchers.join("mail", &self.address)?;
        let line = format!(
            "  {} on its board {} after it began to connect",
            text::count(board.functions.len(), "function"),
            text::duration(began.elapsed()),
        );
        self.screen.remark(&line)?;
        self.register("mail", &MAIL)
    }

    fn pull_cable(&mut self) -> Result<(), Failure> {
        self.screen
            .act("The cable of orders is pulled. The engine does not notice, and waits.")?;
        self.proxy.cut().map_err(DemoError::System)?;
        let (lost, back) = self.watchers.expect_takeover("orders")?;
        let line = format!(
            "  orders is back after {}, presents its key and takes over its",
            text::duration(back.saturating_duration_since(lost)),
        );
        self.screen.remark(&line)?;
        self.screen
            .remark("  session: its functions never left a board, no worker was disturbed")
    }

    fn provide_twice(&mut self) -> Result<(), Failure> {
        self.screen
            .act("web calls orders::create ten times, without knowing where it runs.")?;
        self.call(&["orders"])?;
        self.screen
            .act("audit provides orders::create as well: no change on the board.")?;
        let function = calls::signed("audit", ORDERS[0].0, ORDERS[0].1);
        self.watchers.worker("audit").register([function])?;
        self.screen.remark("But calls are balanced from now on:")?;
        self.call(&["audit", "orders"])?;
        self.screen
            .act("orders says GOODBYE. Its function stays, because audit provides it too.")?;
        let began = Instant::now();
        if let Some(orders) = self.watchers.take("orders") {
            orders.close();
        }
        self.told(&[('-', "orders::cancel")], began)?;
        self.call(&["audit"])
    }

    fn wait_for_a_provider(&mut self) -> Result<(), Failure> {
        let name = ORDERS[0].0;
        self.screen
            .act("audit unregisters it. A call fails at once, or waits with `wait`.")?;
        let began = Instant::now();
        self.watchers.worker("audit").unregister([name])?;
        self.told(&[('-', name)], began)?;
        let web = self.watchers.worker(CAST[0]);
        let code = calls::refusal(web, name)?;
        let waiting = Waiting::begin(web.client(), name, &self.engine)?;
        let line = format!("  one call of web: {code}; another one is parked at the engine");
        self.screen.remark(&line)?;

        self.screen.act("orders is back and registers.")?;
        self.watchers.join("orders", &self.address)?;
        let began = Instant::now();
        self.register("orders", &ORDERS)?;
        let (who, answered) = waiting.end()?;
        let line = format!(
            "  the parked call: answered by {who}, {} later",
            text::duration(answered.saturating_duration_since(began)),
        );
        self.screen.remark(&line)?;
        self.call(&["orders"])
    }

    /// Makes calls from `web`, and shows which providers answered.
    fn call(&mut self, wanted: &[&str]) -> Result<(), Failure> {
        let answers = Answers::to(self.watchers.worker(CAST[0]), ORDERS[0].0, CALLS)?;
        answers.only_by(wanted)?;
        let line = format!(
            "  answered by: {}; half of them within {}",
            answers.shares(),
            text::duration(answers.median()),
        );
        self.screen.remark(&line)
    }

    fn close(mut self) -> Result<(), Failure> {
        self.screen.pause();
        let newcomer = Worker::builder("newcomer")
            .addresses([self.address.clone()])
            .watch(Watch::all().workers([""]))
            .connect(super::watchers::PATIENCE)?;
        let fresh = newcomer.board().snapshot();
        for (name, worker) in self.watchers.members() {
            let board = worker.board().snapshot();
            let same = board.functions.len() == fresh.functions.len()
                && (board.functions.iter().zip(&fresh.functions))
                    .all(|(mine, theirs)| mine.function() == theirs.function())
                && board.revision == fresh.revision;
            if !same || board.stale {
                return Err(DemoError::WrongBoard { worker: name }.into());
            }
        }
        let line = format!(
            "\nThe board at the end, revision {}, the same for all {} and for a newcomer:",
            fresh.revision,
            self.watchers.len(),
        );
        self.screen.line(&line)?;
        for entry in &fresh.functions {
            let who = fresh.workers.iter().filter(|it| it.provides(entry.name()));
            let who: Vec<&str> = who.map(callboard::worker::WorkerInfo::name).collect();
            let name = text::padded(entry.name(), 18);
            let who = text::padded(&who.join(", "), 8);
            let description = self.screen.paint().text(Colour::Dim, entry.description());
            self.screen.remark(&format!("{name} {who} {description}"))?;
        }
        newcomer.close();
        self.summarise()?;
        for name in CAST {
            if let Some(worker) = self.watchers.take(name) {
                worker.close();
            }
        }
        self.proxy.remove().map_err(DemoError::System)?;
        self.engine.shutdown();
        self.engine.join()?;
        Ok(())
    }

    fn summarise(&mut self) -> Result<(), Failure> {
        let mut times = self.screen.latencies().to_vec();
        times.sort();
        let (Some(worst), median) = (times.last(), times.get(times.len() / 2)) else {
            return Ok(());
        };
        let line = format!(
            "{} pushes; from the call to the last worker: median {}, worst {}.",
            self.screen.pushes(),
            text::duration(*median.unwrap_or(worst)),
            text::duration(*worst),
        );
        let line = self.screen.paint().text(Colour::Bold, line);
        self.screen.line(&format!("\n{line}"))?;
        let counters = self.engine.counters();
        let line = format!(
            "The engine, one thread, sent {} bytes in {} writes.",
            text::grouped(counters.written_bytes as usize),
            text::grouped(counters.writes as usize),
        );
        self.screen.line(&line)?;
        self.screen
            .line("Next: `callboard serve`, and `callboard --help` for what to do with it.")
    }

    fn register(&mut self, who: &'static str, functions: &[(&str, &str)]) -> Result<(), Failure> {
        let definitions = functions
            .iter()
            .map(|(name, description)| calls::signed(who, name, description));
        let began = Instant::now();
        self.watchers.worker(who).register(definitions)?;
        let signs: Vec<(char, &str)> = functions.iter().map(|(name, _)| ('+', *name)).collect();
        self.told(&signs, began)
    }

    /// Waits until all watchers have these changes, and shows them.
    fn told(&mut self, changes: &[(char, &str)], began: Instant) -> Result<(), Failure> {
        let signs = changes
            .iter()
            .map(|(sign, name)| (*sign, (*name).to_owned()));
        let signs: Vec<Sign> = signs.collect();
        let push = self.watchers.expect(&signs)?;
        self.screen.pushed(&signs, began, push, true)
    }

    /// The number of functions per service on the board of the first watcher.
    fn show_board(&mut self) -> Result<(), Failure> {
        let board = self.watchers.worker(CAST[0]).board().snapshot();
        let mut services: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &board.functions {
            let service = entry.name().split("::").next().unwrap_or_default();
            *services.entry(service).or_default() += 1;
        }
        let parts: Vec<String> = services
            .iter()
            .map(|(service, functions)| format!("{service} {functions}"))
            .collect();
        let line = format!("board: {}, revision {}", parts.join(", "), board.revision);
        let line = self.screen.paint().text(Colour::Dim, line);
        self.screen.remark(&line)
    }
}
