//! `call`: the round-trip time and the throughput of calls between callers and providers that do nothing else.
//! Either a fixed number of calls in flight, each result starting the next call, or a fixed rate, whether results
//! arrive or not.
//!
//! A paced load is corrected for coordinated omission: the time of a call counts from its scheduled moment. While
//! the engine stalls, all calls that become due wait, each for as long as it really would have. (The histogram's
//! own `record_correct` would have to guess what the schedule knows.)

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call_report::CallReport;
use super::error::BenchError;
use super::prepared_frame::{self, PreparedFrame};
use super::received_frame::ReceivedFrame;
use super::registration::{self, filling};
use super::resource_use::ResourceUse;
use super::session::{Session, end_of};
use super::stop_condition::StopCondition;
use super::time_histogram::TimeHistogram;
use super::timer::Timer;
use crate::protocol::{Failure, Invoke, Message, Outcome};

/// The warm-up before the measurement.
const WARM_UP: StopCondition = StopCondition {
    time: Some(Duration::from_millis(300)),
    count: Some(1_000),
};

/// The most calls in flight on one connection. When a paced load reaches it, further calls are made late but count
/// from their scheduled moment. Below the engine's `--max-calls`.
const MOST_OPEN: usize = 8_192;

/// Group of the function's name.
const GROUP: &str = "echo";

/// A load of calls, in flight or paced.
#[derive(Debug, Clone, Copy)]
pub struct CallLoad {
    /// Connections that call.
    pub connections: usize,
    /// Connections that provide the function.
    pub providers: usize,
    /// Calls in flight on each connection, unless `rate` is set.
    pub in_flight: usize,
    /// Calls per second over all connections.
    pub rate: Option<u64>,
    /// Size of the argument and of the result, in bytes.
    pub payload: usize,
    /// When to stop.
    pub stop_condition: StopCondition,
}

impl CallLoad {
    /// Runs the measurement.
    ///
    /// # Errors
    /// When the engine ends or refuses the function, when the first call fails, or when an unexpected answer
    /// arrives.
    pub fn run(&self, session: &mut Session) -> Result<CallReport, BenchError> {
        session.make_room(self.providers + self.connections)?;
        let providers = session.join(self.providers, false, |_| Ok(()))?;
        let callers = session.join(self.connections, false, |_| Ok(()))?;
        let name = session.function_names().name(GROUP, 0);
        let register = registration::register(1, std::slice::from_ref(&name), &[]);
        for &provider in &providers {
            session.send(provider, &register)?;
            let mut ended = false;
            while !ended {
                session.turn_or_stop(|received| {
                    ended |= end_of(&received)?.is_some();
                    Ok(())
                })?;
            }
        }

        let payload = filling(self.payload);
        let mut generator = CallGenerator::new(callers.clone(), &name, &payload);
        self.drive(session, &mut generator, WARM_UP)?;
        if let Some(failure) = generator.first_failure.take() {
            return Err(failure);
        }
        generator.forget();
        let before = session.sample()?;
        self.drive(session, &mut generator, self.stop_condition)?;
        let after = session.sample()?;
        for keys in [&callers, &providers] {
            session.leave(keys);
        }

        let resource_use = ResourceUse::between(&before, &after);
        Ok(CallReport {
            header: session.header("call"),
            connections: self.connections,
            providers: self.providers,
            in_flight: self.rate.is_none().then_some(self.in_flight),
            rate: self.rate,
            payload: self.payload,
            calls: generator.made,
            results: generator.results,
            calls_per_second: resource_use.per_second(generator.made),
            calls_per_engine_cpu_second: resource_use.per_cpu_second(generator.made),
            resource_use,
            failures: generator.failures,
            latency_us: generator.latency.summary(),
            service_us: generator.service.summary(),
            stopped: session.is_stopped(),
        })
    }

    fn drive(
        &self,
        session: &mut Session,
        generator: &mut CallGenerator,
        stop_condition: StopCondition,
    ) -> Result<(), BenchError> {
        match self.rate {
            None => generator.keep_in_flight(session, self.in_flight, stop_condition),
            Some(rate) => generator.keep_pace(session, rate, stop_condition),
        }
    }
}

/// A call, open or closed.
#[derive(Debug, Clone, Copy)]
struct CallSlot {
    /// When it was scheduled.
    due: Instant,
    /// When it was made.
    made: Instant,
    is_open: bool,
}

/// The callers with their open calls. The number of a call is its slot.
struct CallGenerator {
    callers: Vec<usize>,
    call: PreparedFrame,
    result: PreparedFrame,
    slots: Vec<CallSlot>,
    open: usize,
    made: u64,
    results: u64,
    failures: BTreeMap<String, u64>,
    first_failure: Option<BenchError>,
    latency: TimeHistogram,
    service: TimeHistogram,
}

impl CallGenerator {
    fn new(callers: Vec<usize>, function: &str, payload: &[u8]) -> Self {
        Self {
            callers,
            call: PreparedFrame::call(function, payload),
            result: PreparedFrame::result(payload),
            slots: Vec::new(),
            open: 0,
            made: 0,
            results: 0,
            failures: BTreeMap::new(),
            first_failure: None,
            latency: TimeHistogram::default(),
            service: TimeHistogram::default(),
        }
    }

    /// Discards the measurements so far.
    fn forget(&mut self) {
        (self.made, self.results) = (0, 0);
        self.failures.clear();
        self.latency = TimeHistogram::default();
        self.service = TimeHistogram::default();
    }

    /// Allocates this many closed slots.
    fn lay_out(&mut self, slots: usize) {
        let now = Instant::now();
        let closed = CallSlot {
            due: now,
            made: now,
            is_open: false,
        };
        self.slots.clear();
        self.slots.resize(slots, closed);
    }

    /// Makes a call: appends its frame to `out`.
    fn make(&mut self, slot: usize, due: Instant, made: Instant, out: &mut Vec<u8>) {
        self.slots[slot] = CallSlot {
            due,
            made,
            is_open: true,
        };
        self.open += 1;
        self.made += 1;
        out.extend_from_slice(self.call.numbered(slot));
    }

    /// Answers an INVOKE; an answer closes its slot, which is returned.
    fn take(&mut self, received: &mut ReceivedFrame<'_>) -> Result<Option<usize>, BenchError> {
        match received.kind {
            Invoke::KIND => {
                let answer = self.result.answering(received);
                received.reply.extend_from_slice(answer);
                return Ok(None);
            }
            Outcome::KIND => self.results += 1,
            Failure::KIND => self.note_failure(received.body)?,
            _ => return Ok(None),
        }
        let number = prepared_frame::number(received);
        let slot = number.and_then(|number| self.slots.get_mut(number));
        let Some(slot) = slot.filter(|slot| slot.is_open) else {
            return Err(BenchError::Miscounted {
                what: "endings of one call",
                wanted: 1,
                counted: 2,
            });
        };
        slot.is_open = false;
        self.open -= 1;
        let since = |begin| received.at.saturating_duration_since(begin);
        self.latency.add(since(slot.due));
        self.service.add(since(slot.made));
        Ok(number)
    }

    fn note_failure(&mut self, body: &[u8]) -> Result<(), BenchError> {
        let Ok(Message::Failure(failure)) = Message::decode(body) else {
            return Err(BenchError::unexpected(body));
        };
        let error = BenchError::failure(&failure);
        if matches!(error, BenchError::Stopping) {
            return Err(error);
        }
        *self.failures.entry(failure.code.0.to_owned()).or_default() += 1;
        self.first_failure.get_or_insert(error);
        Ok(())
    }

    /// Keeps a number of calls in flight on each connection: each answer starts the next call.
    fn keep_in_flight(
        &mut self,
        session: &mut Session,
        each: usize,
        stop_condition: StopCondition,
    ) -> Result<(), BenchError> {
        let last = stop_condition
            .count
            .map_or(u64::MAX, |count| self.made + count);
        self.lay_out(self.callers.len() * each);
        let began = Instant::now();
        for (at, caller) in self.callers.clone().into_iter().enumerate() {
            let mut frames = Vec::new();
            for slot in at * each..(at + 1) * each {
                if self.made < last {
                    let now = Instant::now();
                    self.make(slot, now, now, &mut frames);
                }
            }
            session.send(caller, &frames)?;
        }
        while self.open > 0 {
            // Once per turn: reading the clock for each call would be noticeable.
            let over = session.is_stopped() || stop_condition.is_met(0, began);
            session.turn(|mut received| {
                if let Some(slot) = self.take(&mut received)?
                    && !over
                    && self.made < last
                {
                    // The next call begins when the previous one ended, so that no time is unaccounted for.
                    self.make(slot, received.at, received.at, received.reply);
                }
                Ok(())
            })?;
            session.report_progress("calls", self.made);
        }
        Ok(())
    }

    /// Makes calls at a fixed rate, the connections in turn, whether answers arrive or not.
    fn keep_pace(
        &mut self,
        session: &mut Session,
        rate: u64,
        stop_condition: StopCondition,
    ) -> Result<(), BenchError> {
        let timer = Timer::new()?;
        session.connection_set().add_timer(&timer)?;
        let first = self.made;
        self.lay_out(self.callers.len() * MOST_OPEN);
        let mut free: Vec<Vec<usize>> = (0..self.callers.len())
            .map(|at| (at * MOST_OPEN..(at + 1) * MOST_OPEN).collect())
            .collect();
        let callers = self.callers.clone();
        let mut frames = vec![Vec::new(); callers.len()];
        let began = Instant::now();
        loop {
            let made = self.made - first;
            let over = session.is_stopped() || stop_condition.is_met(made, began);
            if over && self.open == 0 {
                break;
            }
            if !over {
                let due = self.make_what_is_due(
                    rate,
                    began,
                    first,
                    stop_condition,
                    &mut free,
                    &mut frames,
                );
                for (&caller, frames) in callers.iter().zip(&mut frames) {
                    if !frames.is_empty() {
                        session.send(caller, frames)?;
                        frames.clear();
                    }
                }
                timer.set(due)?;
            }
            if self.open == 0 {
                // The engine owes nothing.
                session.connection_set().forgive_silence();
            }
            session.turn(|mut received| {
                if let Some(slot) = self.take(&mut received)? {
                    free[slot / MOST_OPEN].push(slot);
                }
                Ok(())
            })?;
            session.report_progress("calls", self.made);
        }
        session.connection_set().remove_timer(&timer)
    }

    /// Appends the calls due by now to the frames of their connections. Returns when the next one is due.
    fn make_what_is_due(
        &mut self,
        rate: u64,
        began: Instant,
        first: u64,
        stop_condition: StopCondition,
        free: &mut [Vec<usize>],
        frames: &mut [Vec<u8>],
    ) -> Instant {
        let now = Instant::now();
        let last = stop_condition.count.map_or(u64::MAX, |count| first + count);
        loop {
            let number = self.made - first;
            let due = began + due(number, rate);
            let at = (number % free.len() as u64) as usize;
            if due > now || self.made >= last {
                return due;
            }
            // While all slots are taken the schedule waits; calls still count from their scheduled moment.
            let Some(slot) = free[at].pop() else {
                return now + Duration::from_millis(1);
            };
            self.make(slot, due, now, &mut frames[at]);
        }
    }
}

/// When the call with this number is due, counted from the first.
fn due(number: u64, rate: u64) -> Duration {
    let nanoseconds = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(nanoseconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_made_late_counts_from_when_it_was_due() {
        let mut generator = CallGenerator::new(vec![0, 1], "a::b", b"");
        let now = Instant::now();
        let began = now.checked_sub(Duration::from_secs(1)).expect("a clock");
        generator.lay_out(20);
        let mut free = [(0..10).collect(), (10..20).collect()];
        let mut frames = [Vec::new(), Vec::new()];
        let stop_condition = StopCondition {
            count: Some(15),
            time: None,
        };
        generator.make_what_is_due(100, began, 0, stop_condition, &mut free, &mut frames);
        assert_eq!((generator.made, generator.open), (15, 15));
        assert_eq!(free.map(|it| it.len()), [2, 3]);
        assert_eq!(frames[0].len() / 8, frames[1].len() / 7);
        let mut dues: Vec<Duration> = generator
            .slots
            .iter()
            .filter(|slot| slot.is_open)
            .map(|slot| slot.due - began)
            .collect();
        dues.sort_unstable();
        let wanted: Vec<Duration> = (0..15).map(|it| Duration::from_millis(10 * it)).collect();
        assert_eq!(dues, wanted);
        // All of them were made just now, long after that.
        let open = generator.slots.iter().filter(|slot| slot.is_open);
        assert!(open.clone().all(|slot| slot.made >= now));
        assert!(
            open.clone()
                .all(|slot| slot.made - slot.due > Duration::from_millis(800))
        );
    }

    #[test]
    fn where_no_place_is_free_the_schedule_waits() {
        let mut generator = CallGenerator::new(vec![0], "a::b", b"");
        let began = Instant::now().checked_sub(Duration::from_secs(1));
        let began = began.expect("a clock");
        generator.lay_out(3);
        let mut free = [vec![0, 1, 2]];
        let mut frames = [Vec::new()];
        let mut make = |generator: &mut CallGenerator, free: &mut [Vec<usize>]| {
            generator.make_what_is_due(100, began, 0, StopCondition::default(), free, &mut frames)
        };
        make(&mut generator, &mut free);
        assert_eq!(generator.made, 3);
        free[0].push(1);
        make(&mut generator, &mut free);
        assert_eq!(generator.made, 4);
        // The fourth counts from when it was due, not from when a slot was free.
        assert_eq!(generator.slots[1].due - began, Duration::from_millis(30));
    }

    #[test]
    fn a_schedule_does_not_drift() {
        assert_eq!(due(0, 7), Duration::ZERO);
        assert_eq!(due(3_000, 3_000), Duration::from_secs(1));
        assert_eq!(due(30_000_000_000, 3), Duration::from_secs(10_000_000_000));
        assert_eq!(due(1, 3), Duration::from_nanos(333_333_333));
    }
}
