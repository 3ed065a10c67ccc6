//! Whole sessions against the pure engine: up to four strangers whose bytes, splits, pauses, partial reads
//! and ends the input chooses, beside peers that keep the rules. Nothing panics, the engine's books stay
//! within its limits, each connection that it closes is told why, and the rule keepers are served as if they alone were
//! there.

use std::collections::BTreeSet;

use callboard::limits::Limits;
use callboard::protocol::{Hello, NoExtensions, Ping, Text};

use super::cursor::Cursor;
use super::host::Host;
use super::principals::{self, LOCAL_UID, SECRET, STAFF};
use super::rule_keeper::{FUNCTION, LINKED, RuleKeeper, Watcher};
use super::stranger::Stranger;
use super::worker_frame::{self, Known};
use crate::turn::Budgets;

/// Strangers at once.
pub(super) const STRANGERS: usize = 4;

/// Operations after which an input has said enough: a run shall take milliseconds.
const OPERATIONS_MAX: usize = 600;

/// Steps of the clock, in milliseconds. None is longer than the silence that a peer may keep.
const STEPS: [u64; 8] = [0, 1, 100, 999, 2_000, 4_999, 5_000, 10_000];

/// Bytes that a stranger's connection takes before it blocks.
const ROOMS: [usize; 8] = [0, 1, 10, 100, 1_000, 10_000, usize::MAX, usize::MAX];

/// The bit of an input's first byte that says that the engine has credentials.
pub const CREDENTIALS: u8 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Say,
    Raw,
    Arrive,
    Turn,
    Wait,
    OpenOrEnd,
    Room,
    HalfTurn,
    Call,
    LongRaw,
    ComeBack,
    Reload,
}

/// The operations, by their byte modulo their number. One stands as often as it shall be met. The two
/// highest bits of the byte are the stranger's.
const OPERATIONS: [Operation; 16] = [
    Operation::Say,
    Operation::Say,
    Operation::Say,
    Operation::Say,
    Operation::Say,
    Operation::ComeBack,
    Operation::Turn,
    Operation::Turn,
    Operation::Wait,
    Operation::OpenOrEnd,
    Operation::Room,
    Operation::HalfTurn,
    Operation::Call,
    Operation::Raw,
    Operation::Arrive,
    Operation::LongRaw,
];

/// Reload came later: it took the place of a byte that meant the same as a lower one.
const RELOAD: u8 = 23;

pub(super) struct Session {
    host: Host,
    provider: RuleKeeper,
    caller: RuleKeeper,
    watcher: Watcher,
    strangers: [Option<Stranger>; STRANGERS],
    known: Known,
    turns: u64,
    /// The rule keepers' functions are on the board, and stay.
    is_set_up: bool,
    /// Bytes that arrived in this turn.
    arrived: usize,
    /// All that each place of a stranger said in bytes of the input's own.
    raw: [Vec<u8>; STRANGERS],
    /// The bytes that each stranger was sent, for a recording.
    pub(super) told: [Vec<u8>; STRANGERS],
}

/// One input: the limits, then operations.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let shape = cursor.byte();
    let limits = if shape & 1 == 1 { tight() } else { roomy() };
    let mut session = Session::new(limits, shape & CREDENTIALS != 0);
    for _ in 0..OPERATIONS_MAX {
        if cursor.is_empty() || session.watcher.is_betrayed {
            break;
        }
        session.operate(&mut cursor);
    }
    if shape & 2 == 2 {
        session.stop_in_the_midst();
    } else {
        session.conclude();
    }
}

/// The input in which a stranger says HELLO and then these bytes, once in one piece and once in many.
pub fn said_after_hello(bytes: &[u8]) -> Vec<u8> {
    let hello = Hello {
        versions: vec![1],
        name: Text("recorded"),
        ..Hello::default()
    };
    let mut input = vec![0];
    for slot in 0..2 {
        for piece in [&hello.to_frame()[..], bytes] {
            input.push(Operation::LongRaw.byte(slot));
            input.extend((piece.len() as u16).to_be_bytes());
            input.extend_from_slice(piece);
            if slot == 1 {
                input.extend([Operation::Arrive.byte(slot), 2].repeat(4));
            }
            input.push(Operation::Turn.byte(slot));
        }
    }
    input
}

pub(super) fn roomy() -> Limits {
    Limits {
        changes_per_second: 0,
        ..Limits::default()
    }
}

/// Limits that a short input reaches.
fn tight() -> Limits {
    Limits {
        // The rule keepers, one of them twice, the strangers, and one who comes at the end.
        max_connections: 9,
        max_payload: 3_000,
        max_namespaces: 2,
        max_audiences: 5,
        max_prefixes: 3,
        max_workers: 5,
        max_functions: 6,
        max_entry: 600,
        max_metadata: 2_000,
        max_worker_metadata: 64,
        max_outbound: 4_000,
        max_calls: 4,
        max_calls_total: 12,
        max_parked: 3,
        max_retained: 6_000,
        max_backlog: 8_000,
        max_bindings: 4,
        max_greeting: 3,
        max_namespace_functions: 12,
        max_namespace_bindings: 8,
        max_namespace_metadata: 6_000,
        max_batches: 1_500,
        max_outbound_total: 30_000,
        max_partial: 3_000,
        max_retained_each: 3_000,
        cache_bytes: 2_000,
        log_bytes: 800,
        changes_per_second: 2,
        max_frame: 131_072,
        ..Limits::default()
    }
}

impl Operation {
    fn of(byte: u8) -> Self {
        match byte & 0x1f {
            RELOAD => Self::Reload,
            other => OPERATIONS[usize::from(other) % OPERATIONS.len()],
        }
    }

    /// The byte that stands for it, of this stranger.
    pub(super) fn byte(self, slot: usize) -> u8 {
        let slot = (slot << 6) as u8;
        if self == Self::Reload {
            return RELOAD | slot;
        }
        let at = OPERATIONS.iter().position(|&it| it == self);
        at.expect("each operation has its place") as u8 | slot
    }
}

impl Session {
    pub(super) fn new(limits: Limits, has_credentials: bool) -> Self {
        let mut host = Host::new(limits);
        let token = has_credentials.then_some(STAFF);
        if has_credentials {
            let now = host.now;
            host.engine.handle_credentials(&principals::at_first(), now);
        }
        let provider = RuleKeeper::join(&mut host, token, "provider", &[""]);
        let caller = RuleKeeper::join(&mut host, token, "caller", &["a", "well::"]);
        let watcher = Watcher::join(&mut host, token);
        let mut session = Self {
            host,
            provider,
            caller,
            watcher,
            strangers: [const { None }; STRANGERS],
            known: Known {
                has_credentials,
                ..Known::default()
            },
            turns: 0,
            is_set_up: false,
            arrived: 0,
            raw: [const { Vec::new() }; STRANGERS],
            told: [const { Vec::new() }; STRANGERS],
        };
        session.turn();
        session.provider.provide(&mut session.host, FUNCTION);
        if has_credentials {
            session.provider.provide(&mut session.host, SECRET);
        }
        session.watcher.provide();
        session.turn();
        session.turn();
        session.is_set_up = true;
        session.known.workers.push(session.provider.worker());
        session.open(0);
        session.open(1);
        session
    }

    /// Carries out the next operation.
    pub(super) fn operate(&mut self, cursor: &mut Cursor<'_>) {
        let choice = cursor.byte();
        let slot = usize::from(choice >> 6) % STRANGERS;
        match Operation::of(choice) {
            Operation::Say => {
                let mut frame = Vec::new();
                worker_frame::append(cursor, &mut self.known, &mut frame);
                self.say(slot, &frame);
            }
            Operation::Raw => self.say_raw(slot, cursor.short()),
            Operation::LongRaw => {
                let bytes = cursor.long();
                if self.strangers[slot].is_none() {
                    self.open(slot);
                }
                self.say_raw(slot, bytes);
            }
            Operation::Arrive => self.arrive(slot, 1 + usize::from(cursor.byte())),
            Operation::Turn => self.turn(),
            Operation::Wait => {
                let milliseconds = cursor.of(&STEPS);
                self.wait(milliseconds);
            }
            Operation::OpenOrEnd => match &self.strangers[slot] {
                None => {
                    self.open(slot);
                    // Most ways into the engine lead through a HELLO.
                    let mut frame = Vec::new();
                    worker_frame::hello(cursor, &self.known, &mut frame);
                    self.say(slot, &frame);
                }
                Some(stranger) => {
                    let line = stranger.line;
                    if cursor.flag() {
                        self.host.eof(line);
                    } else {
                        self.host.reset(line);
                    }
                    self.turn();
                }
            },
            Operation::Room => {
                if let Some(stranger) = &self.strangers[slot] {
                    self.host.lines[stranger.line].room = cursor.of(&ROOMS);
                    self.host.unblock(stranger.line);
                }
            }
            Operation::HalfTurn => {
                let (replies, news) = cursor.two_below(8);
                let budgets = Budgets::writes(replies, news);
                self.host.finish_turn(budgets, |_, _| {});
            }
            Operation::Reload => {
                if self.known.has_credentials {
                    let credentials = principals::credentials(cursor);
                    let now = self.host.now;
                    self.host.engine.handle_credentials(&credentials, now);
                }
            }
            Operation::ComeBack => self.watcher.come_back(&mut self.host),
            Operation::Call => {
                let worker = self.provider.worker();
                self.caller.call(&mut self.host, worker, self.turns);
            }
        }
    }

    fn open(&mut self, slot: usize) {
        // The last of them has a user id from the kernel.
        let uid = (slot == STRANGERS - 1).then_some(LOCAL_UID);
        self.strangers[slot] = Some(Stranger::new(self.host.open_as(uid)));
    }

    fn say_raw(&mut self, slot: usize, bytes: &[u8]) {
        self.raw[slot].extend_from_slice(bytes);
        self.say(slot, bytes);
    }

    fn say(&mut self, slot: usize, bytes: &[u8]) {
        if let Some(stranger) = &self.strangers[slot] {
            let up = &mut self.host.lines[stranger.line].up;
            let before = up.len();
            up.extend_from_slice(bytes);
            let tail = &up[before.saturating_sub(32)..];
            let gives_away = |secret: &str| {
                tail.windows(secret.len())
                    .any(|bytes| bytes == secret.as_bytes())
            };
            if self.watcher.is_betrayed_by(tail) || gives_away(STAFF) || gives_away(SECRET) {
                up.truncate(before);
            }
        }
    }

    fn arrive(&mut self, slot: usize, most: usize) {
        if let Some(stranger) = &mut self.strangers[slot] {
            let bytes = self.host.arrive(stranger.line, most);
            self.arrived += bytes.len();
            stranger.said(&bytes, self.host.now);
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        // Writes what is still due first, so that the clock alone causes what follows.
        self.turn();
        self.provider.ping(&mut self.host);
        self.caller.ping(&mut self.host);
        self.host.now.0 += milliseconds * 1000;
        self.turn();
    }

    /// All that was said arrives, all that is due is written, all that can be read is read.
    fn turn(&mut self) {
        self.turns += 1;
        for line in 0..self.host.lines.len() {
            let slot = self.slot_of(line);
            match slot {
                Some(slot) => self.arrive(slot, usize::MAX),
                None => drop(self.host.arrive(line, usize::MAX)),
            }
        }
        let strangers = &mut self.strangers;
        self.host.finish_turn(Budgets::ALL, |host, line| {
            let bytes = host.arrive(line, usize::MAX);
            let now = host.now;
            let stranger = strangers.iter_mut().flatten().find(|it| it.line == line);
            if let Some(stranger) = stranger {
                stranger.said(&bytes, now);
            }
        });
        self.provider.take(&mut self.host);
        self.caller.take(&mut self.host);
        self.watcher.take(&mut self.host, &self.raw);
        if self.watcher.is_betrayed {
            return;
        }
        for slot in 0..STRANGERS {
            self.listen(slot);
        }
        self.caller.check(&self.host, self.turns);
        self.provider.check(&self.host, self.turns);
        if self.is_set_up {
            let functions = &self.provider.reader.view.functions;
            assert!(functions.contains_key(FUNCTION) && functions.contains_key(LINKED));
        }
        self.check_books();
        self.arrived = 0;
    }

    fn slot_of(&self, line: usize) -> Option<usize> {
        let of_line = |it: &Option<Stranger>| it.as_ref().is_some_and(|it| it.line == line);
        self.strangers.iter().position(of_line)
    }

    /// A stranger reads what came; what is over is checked and forgotten.
    fn listen(&mut self, slot: usize) {
        let Some(stranger) = &mut self.strangers[slot] else {
            self.told[slot].clear();
            return;
        };
        let bytes = self.host.receive(stranger.line);
        stranger.told(&bytes, &mut self.known);
        self.told[slot] = bytes;
        let line = &self.host.lines[stranger.line];
        let is_over = !line.open || line.half_closed;
        if is_over && !line.ended && !stranger.left && !line.slow && !line.blocked {
            assert!(stranger.goodbye.is_some(), "sent away without a word");
        }
        if !line.open {
            self.strangers[slot] = None;
        } else if line.half_closed && slot.is_multiple_of(2) {
            // Others leave it to the engine's patience.
            self.host.eof(stranger.line);
        }
    }

    /// What the engine counts is within the limits, and no more than there can be.
    fn check_books(&self) {
        let stats = self.host.engine.stats();
        let limits = &self.host.limits;
        let open = self.host.lines.iter().filter(|line| line.open).count() as u64;
        assert!(stats.connections <= open, "{stats:?}, {open}");
        assert!(stats.parked <= 2 * limits.max_parked, "{stats:?}");
        assert!(stats.retained_bytes <= 2 * limits.max_retained, "{stats:?}");
        // All users together have twice a limit; providers hold abandoned calls, too.
        assert!(stats.calls <= 3 * limits.max_calls_total, "{stats:?}");
        assert!(stats.batch_bytes <= limits.max_batches, "{stats:?}");
        assert!(stats.partial_bytes <= limits.max_partial, "{stats:?}");
        assert!(stats.functions <= open * limits.max_functions, "{stats:?}");
        assert!(stats.bindings <= open * limits.max_bindings, "{stats:?}");
        let boards = 2 * limits.max_namespaces;
        assert!(stats.functions <= boards * limits.max_namespace_functions);
        assert!(stats.bindings <= boards * limits.max_namespace_bindings);
        let partial: usize = self.strangers.iter().flatten().map(Stranger::partial).sum();
        assert!(
            stats.partial_bytes <= partial as u64,
            "{stats:?}, {partial}"
        );
        // Only who reads slowly, or is on the way out, is behind or has something left to read.
        let late = self.strangers.iter().flatten().filter(|stranger| {
            let line = &self.host.lines[stranger.line];
            line.room != usize::MAX || line.ended || line.half_closed || stranger.goodbye.is_some()
        });
        let late = late.count() as u64 + 1;
        assert!(stats.behind <= late, "{stats:?}, {late}");
        // What was read at once may be answered at once: a list of the board is the longest answer, half a
        // payload for a request of two dozen bytes.
        let answers = self.arrived as u64 * (32 + limits.max_payload / 48);
        let one = limits.max_backlog + limits.max_outbound + limits.max_payload + 4096;
        assert!(stats.outbound_bytes <= late * one + answers, "{stats:?}");
        let log = limits.log_bytes + limits.max_metadata * STRANGERS as u64 + 4096;
        assert!(
            stats.log_bytes <= 2 * limits.max_namespaces * log,
            "{stats:?}"
        );
    }

    /// Strangers read everything and go; what is left is what the rule keepers have, and they are served.
    pub(super) fn conclude(mut self) {
        for slot in 0..STRANGERS {
            if let Some(stranger) = &self.strangers[slot] {
                self.host.lines[stranger.line].room = usize::MAX;
                self.host.unblock(stranger.line);
            }
        }
        self.turn();
        if self.watcher.is_betrayed {
            return;
        }
        for _ in 0..4 {
            for stranger in self.strangers.iter().flatten() {
                let up = &mut self.host.lines[stranger.line].up;
                if stranger.is_between_frames() && up.is_empty() {
                    let ext = NoExtensions {};
                    up.extend(Ping { revision: 0, ext }.to_frame());
                }
            }
            self.wait(8_000);
        }
        self.turn();
        for stranger in self.strangers.iter().flatten() {
            let line = &self.host.lines[stranger.line];
            let is_served = line.open && !line.half_closed && !line.ended && line.up.is_empty();
            if is_served && stranger.welcomed && stranger.goodbye.is_none() && !stranger.left {
                stranger.check_ended(self.host.now);
            }
        }
        for slot in 0..STRANGERS {
            if let Some(stranger) = &self.strangers[slot] {
                let line = stranger.line;
                self.host.eof(line);
            }
        }
        self.wait(self.host.limits.linger + 1);
        self.check_alone();
        self.check_shutdown();
    }

    /// The engine is asked to stop while the strangers are at it: it is done when grace and linger are over,
    /// whatever they do, and has told everybody.
    fn stop_in_the_midst(mut self) {
        self.turn();
        if self.watcher.is_betrayed {
            return;
        }
        self.host.engine.handle_shutdown(self.host.now);
        let milliseconds = self.host.limits.grace + self.host.limits.linger;
        for _ in 0..=milliseconds / 1000 + 1 {
            for line in 0..self.host.lines.len() {
                match self.slot_of(line) {
                    Some(slot) => self.arrive(slot, usize::MAX),
                    None => drop(self.host.arrive(line, usize::MAX)),
                }
            }
            self.host.finish_turn(Budgets::ALL, |_, _| {});
            self.provider.take(&mut self.host);
            self.caller.take(&mut self.host);
            for slot in 0..STRANGERS {
                self.listen(slot);
            }
            self.host.now.0 += 1_000_000;
        }
        assert!(self.host.engine.is_finished(), "it does not stop");
        assert!(self.host.lines.iter().all(|line| !line.open));
        for rule_keeper in [&self.provider, &self.caller] {
            let goodbye = rule_keeper.reader.goodbye.as_ref();
            assert_eq!(goodbye.map(|(code, ..)| &**code), Some("shutting_down"));
            assert!(rule_keeper.has_all_its_endings());
        }
    }

    fn check_alone(&mut self) {
        assert!(self.strangers.iter().all(Option::is_none));
        let worker = self.provider.worker();
        let before = self.caller.results;
        self.caller.call(&mut self.host, worker, self.turns);
        for _ in 0..4 {
            self.turn();
        }
        assert!(self.caller.is_idle());
        assert_eq!(
            self.caller.results,
            before + 1,
            "the last call got no result"
        );

        let token = self.known.has_credentials.then_some(STAFF);
        let mut fresh = RuleKeeper::join(&mut self.host, token, "fresh", &[""]);
        self.turn();
        fresh.take(&mut self.host);
        assert!(fresh.reader.is_synced());
        assert_eq!(fresh.reader.view, self.provider.reader.view);
        let view = &self.provider.reader.view;
        let names: BTreeSet<&str> = view.functions.keys().map(String::as_str).collect();
        let mut expected = BTreeSet::from([FUNCTION, LINKED]);
        if self.known.has_credentials {
            expected.insert(SECRET);
        }
        assert_eq!(names, expected);
        let linked = self.watcher.link.view();
        assert!(linked.is_live());
        assert!(
            linked
                .with_prefix("")
                .map(|it| it.name().to_owned())
                .eq(names)
        );
        assert_eq!(linked.workers().count(), 2);
        assert_eq!(linked.bindings().count(), 0);

        let stats = self.host.engine.stats();
        let left = [
            stats.calls,
            stats.parked,
            stats.retained_bytes,
            stats.outbound_bytes,
            stats.partial_bytes,
            stats.bindings,
            stats.behind,
        ];
        assert_eq!(left, [0; 7], "{stats:?}");
        assert_eq!(
            (stats.functions, stats.workers, stats.connections),
            (expected.len() as u64, 2, 4)
        );
    }

    /// Asked to stop, the engine tells everybody and is done.
    fn check_shutdown(&mut self) {
        self.host.engine.handle_shutdown(self.host.now);
        for _ in 0..2 {
            self.host.finish_turn(Budgets::ALL, |_, _| {});
            self.host.now.0 += self.host.limits.linger * 1000 + 1000;
        }
        assert!(self.host.engine.is_finished());
        assert!(self.host.lines.iter().all(|line| !line.open));
        let bytes = self.host.receive(0);
        self.provider.reader.read(&bytes);
        let goodbye = self.provider.reader.goodbye.as_ref();
        assert_eq!(goodbye.map(|(code, ..)| &**code), Some("shutting_down"));
    }
}
