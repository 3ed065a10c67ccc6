//! Calls: through the engine, through the two-hop relay that is the floor under any engine, through one that moves
//! nothing but the payloads, and as requests of NATS. The load (`../sockets/load.rs`) is the same for all: it moves ids
//! from frame to frame. Payloads are the same; the floor's frames have the size of Callboard's.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use socket2::Socket;

use crate::comparison::{Comparison, Metric, Unit};
use crate::load::{self, Dialect, Frames, PAYLOAD, Pair, Run, Shape};
use crate::payloads::{self, Payloads};
use crate::peer::{self, Peer};
use crate::process::Process;
use crate::processors;
use crate::relay;
use crate::requests::{self, Requests};
use crate::section::{Bars, Plot, Section, Verdict};
use crate::server::{self, Kind};
use crate::target::{Programs, Target};
use crate::wire::{Carry, DIGITS, Fault, nats};

const ROUND_TRIP: usize = 0;
const PER_CPU: usize = 2;

const METRICS: [Metric; 4] = [
    Metric {
        name: "round trip, half within",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "round trip, 99 % within",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "calls per CPU second",
        unit: Unit::PerSecond,
    },
    Metric {
        name: "calls by the clock",
        unit: Unit::PerSecond,
    },
];

/// Pairs of connections, for the load that spreads its calls.
const PAIRS: usize = 64;

/// Calls that are in flight together.
const SHAPES: [(&str, Shape); 3] = [
    ("a connection each", Shape::Pairs(PAIRS)),
    ("one connection, a write each", Shape::Single(64)),
    ("one connection, gathered writes", Shape::Gathered(64)),
];

/// Something that calls go through, and why it is of no use any more: what broke off in the middle leaves calls behind.
struct Exchange {
    via: Via,
    fault: Option<Fault>,
}

impl From<Via> for Exchange {
    fn from(via: Via) -> Self {
        Self { via, fault: None }
    }
}

/// What the calls go through, and those who make them.
enum Via {
    Floor(Process, Vec<Pair<Frames>>),
    Bare(Process, Vec<Pair<Payloads>>),
    Callboard(Target, Vec<Pair<Frames>>),
    Nats(Target, Vec<Pair<Requests>>),
}

impl Exchange {
    /// The relay; what goes to a provider grows by `extra` bytes on its way.
    fn floor(extra: usize) -> Self {
        let (process, pairs) = relay(&format!("extra={extra}"), |caller, provider| {
            Pair::new(caller, provider, &function(0))
        });
        Via::Floor(process, pairs).into()
    }

    /// The relay that knows no frames.
    fn bare() -> Self {
        let (process, pairs) = relay("", payloads::pair);
        Via::Bare(process, pairs).into()
    }

    fn callboard(programs: &Programs) -> Result<Self, Fault> {
        let target = Target::callboard(programs)?;
        let address = target.address.to_string();
        let pairs = (0..PAIRS).map(|number| pair(&address, number)).collect();
        Ok(Via::Callboard(target, pairs).into())
    }

    fn nats(target: Target) -> Result<Self, Fault> {
        let address = target.address.to_string();
        let subscribe = |number| {
            let provider = subscribed(&address, &requests::subject(number))?;
            let caller = subscribed(&address, &requests::answers(number))?;
            Ok([provider, caller])
        };
        let mut pairs = Vec::new();
        for sockets in (0..PAIRS)
            .map(subscribe)
            .collect::<Result<Vec<_>, Fault>>()?
        {
            let number = pairs.len();
            let [provider, caller] = sockets;
            for socket in [&provider, &caller] {
                answer_first_ping(socket)?;
            }
            let (request, reply) = (requests::request(number), requests::reply(number));
            pairs.push(Pair::of(caller, request, provider, reply));
        }
        Ok(Via::Nats(target, pairs).into())
    }

    fn name(&self) -> &'static str {
        match &self.via {
            Via::Floor(..) => "floor",
            Via::Bare(..) => "bare relay",
            Via::Callboard(target, _) | Via::Nats(target, _) => target.name,
        }
    }

    fn processor_time(&self) -> Duration {
        match &self.via {
            Via::Floor(process, _) | Via::Bare(process, _) => server::processor_time(process.id),
            Via::Callboard(target, _) | Via::Nats(target, _) => target.processor_time(),
        }
    }

    /// Sizes of a call's frames.
    fn sizes(&mut self) -> [usize; 4] {
        match &mut self.via {
            Via::Floor(_, pairs) | Via::Callboard(_, pairs) => pairs[0].exchange(),
            Via::Bare(_, pairs) => pairs[0].exchange(),
            Via::Nats(_, pairs) => pairs[0].exchange(),
        }
    }

    /// Calls for so long: the figures of [`METRICS`]. Whatever the load does not get, or gets twice, is a fault.
    fn calls(&mut self, shape: Shape, length: Duration) -> Result<Vec<f64>, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let used = self.processor_time();
        let run = caught(|| match &mut self.via {
            Via::Floor(_, pairs) | Via::Callboard(_, pairs) => {
                load::run(&mut pairs[..shape.pairs()], shape, length)
            }
            Via::Bare(_, pairs) => load::run(&mut pairs[..shape.pairs()], shape, length),
            Via::Nats(_, pairs) => load::run(&mut pairs[..shape.pairs()], shape, length),
        });
        let run = run.inspect_err(|fault| self.fault = Some(fault.clone()))?;
        let used = self.processor_time().saturating_sub(used);
        let microseconds = |part| run.times.value_at_quantile(part) as f64 / 1e3;
        Ok(vec![
            microseconds(0.5),
            microseconds(0.99),
            run.calls as f64 / used.as_secs_f64(),
            run.calls as f64 / run.took.as_secs_f64(),
        ])
    }
}

/// A relay that is started so, and pairs of connections to it.
fn relay<D: Dialect>(
    how: &str,
    pair: impl Fn(Socket, Socket) -> Pair<D>,
) -> (Process, Vec<Pair<D>>) {
    let role = format!("{} {how} listen=127.0.0.1:0", relay::ROLE);
    let process = processors::on_the_servers(|| Process::start(&role));
    let address = &process.addresses[0];
    let connect = |_| {
        let provider = peer::connect(address);
        pair(peer::connect(address), provider)
    };
    let pairs = (0..PAIRS).map(connect).collect();
    (process, pairs)
}

/// The load's complaint about the other side as a fault: it panics.
pub(crate) fn caught(load: impl FnOnce() -> Run) -> Result<Run, Fault> {
    catch_unwind(AssertUnwindSafe(load)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("the load broke off").to_owned()
    })
}

/// What a pair's provider registers: with a number at its end, as all functions have here.
fn function(pair: usize) -> String {
    format!("echo{pair:0DIGITS$}")
}

/// A caller and a provider of an engine.
pub(crate) fn pair(address: &str, number: usize) -> Pair<Frames> {
    let function = function(number);
    let mut provider = Peer::join(address, false);
    provider.register(&function, "");
    let caller = Peer::join(address, false);
    Pair::new(caller.into_stream(), provider.into_stream(), &function)
}

/// A connection to NATS that has subscribed to something, and has read all that the server says to that.
fn subscribed(address: &str, subject: &str) -> Result<Socket, Fault> {
    let mut socket = peer::connect(address);
    let text = |error: std::io::Error| error.to_string();
    socket
        .write_all(&nats::subscription(subject))
        .map_err(text)?;
    let (mut carry, mut ready, mut scratch) = (Carry::default(), false, [0; 4096]);
    while !ready {
        let n = socket.read(&mut scratch).map_err(text)?;
        if n == 0 {
            return Err("NATS closed a connection".to_owned());
        }
        carry.cut(&scratch[..n], |bytes| {
            let said = nats::said(bytes)?;
            ready |= matches!(said, Some((nats::Said::Pong, _)));
            Ok(said.map(|(_, end)| end))
        })?;
    }
    Ok(socket)
}

/// NATS asks each client once within its first seconds, whatever its interval. Answered before anything is measured,
/// it does not come in between.
fn answer_first_ping(mut socket: &Socket) -> Result<(), Fault> {
    let text = |error: std::io::Error| error.to_string();
    let (mut carry, mut asked, mut scratch) = (Carry::default(), false, [0; 64]);
    while !asked {
        let n = socket.read(&mut scratch).map_err(text)?;
        if n == 0 {
            return Err("NATS closed a connection".to_owned());
        }
        carry.cut(&scratch[..n], |bytes| {
            let said = nats::said(bytes)?;
            asked |= matches!(said, Some((nats::Said::Ping, _)));
            Ok(said.map(|(_, end)| end))
        })?;
    }
    socket.write_all(b"PONG\r\n").map_err(text)
}

/// All that take part, both relays and Callboard twice.
fn exchanges(programs: &Programs) -> Result<(Vec<Exchange>, [usize; 4]), Fault> {
    let mut first = Exchange::callboard(programs)?;
    let sizes = first.sizes();
    let floor = || {
        let mut floor = Exchange::floor(sizes[1] - sizes[0]);
        if floor.sizes() == sizes {
            Ok(floor)
        } else {
            Err("the floor moves other bytes than Callboard".to_owned())
        }
    };
    let mut all = vec![floor()?, Exchange::bare(), first];
    if let Some(target) = Target::peer(Kind::Nats, programs)? {
        all.push(Exchange::nats(target)?);
    }
    all.extend([Exchange::callboard(programs)?, Exchange::bare(), floor()?]);
    Ok((all, sizes))
}

/// Which of the two questions are asked.
pub(crate) struct Asked {
    pub(crate) one: bool,
    pub(crate) many: bool,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

pub(crate) fn ask(programs: &Programs, asked: &Asked) -> Result<Vec<Section>, Fault> {
    let (mut all, sizes) = exchanges(programs)?;
    let has_nats = all.iter().any(|it| matches!(it.via, Via::Nats(..)));
    let mut compare = |shape: Shape| {
        let mut comparison = Comparison::new(&METRICS, all.iter().map(Exchange::name));
        for exchange in &mut all {
            // What breaks here breaks again where it is noted.
            drop(exchange.calls(shape, asked.length / 4));
        }
        comparison.alternate(asked.rounds, &mut all, |it| it.calls(shape, asked.length));
        comparison
    };
    let mut sections = Vec::new();
    if asked.one {
        sections.push(one(compare(Shape::One), sizes, has_nats));
    }
    if asked.many {
        let tables = SHAPES.map(|(name, shape)| (name, compare(shape)));
        sections.push(many(tables.into(), has_nats));
    }
    Ok(sections)
}

fn one(comparison: Comparison, sizes: [usize; 4], has_nats: bool) -> Section {
    let ours = comparison.control("Callboard", ROUND_TRIP);
    let mut verdicts = vec![Verdict::at_most(
        "round trip: aim at 1.13 × the two-hop floor",
        comparison.ratio("Callboard", "floor", ROUND_TRIP),
        1.13,
        comparison.control("floor", ROUND_TRIP),
    )];
    verdicts.push(Verdict::beside(
        "round trip beside the bare relay",
        comparison.ratio("Callboard", "bare relay", ROUND_TRIP),
        comparison.control("bare relay", ROUND_TRIP),
    ));
    verdicts.push(cpu_beside_bare("", &comparison));
    if has_nats {
        verdicts.push(Verdict::not_above(
            "round trip: not above NATS beyond the A/A spread",
            comparison.ratio("Callboard", "NATS", ROUND_TRIP),
            ours,
        ));
    }
    Section {
        key: "call",
        title: "A call, one in flight".to_owned(),
        text: format!(
            "One caller, one provider, payloads of 64 bytes both ways; each waits in a read. The floor is a relay that \
             moves frames of the same sizes ({} bytes) between two connections; the bare relay moves the payload of {} \
             bytes alone, with a write for each read, and knows no frames; to NATS it is a request and its reply.",
            sizes.map(|size| size.to_string()).join(", "),
            PAYLOAD.len()
        ),
        verdicts,
        plot: Plot::Bars(Bars::of(
            "A call, one in flight",
            &comparison,
            &[ROUND_TRIP, 1],
        )),
        tables: vec![(String::new(), comparison)],
    }
}

/// The processor time of a call: the bare relay's calls per second of it in parts of Callboard's.
fn cpu_beside_bare(shape: &str, comparison: &Comparison) -> Verdict {
    Verdict::beside(
        format!("{shape}CPU per call beside the bare relay"),
        comparison.ratio("bare relay", "Callboard", PER_CPU),
        comparison.control("bare relay", PER_CPU),
    )
}

fn many(tables: Vec<(&str, Comparison)>, has_nats: bool) -> Section {
    let mut verdicts = Vec::new();
    for (shape, comparison) in &tables {
        verdicts.push(Verdict::at_least(
            format!("{shape}: at least 0.6 × the two-hop floor"),
            comparison.ratio("Callboard", "floor", PER_CPU),
            0.6,
            comparison.control("floor", PER_CPU),
        ));
        verdicts.push(cpu_beside_bare(&format!("{shape}: "), comparison));
        if has_nats {
            verdicts.push(Verdict::at_least(
                format!("{shape}: at least 1.4 × NATS"),
                comparison.ratio("Callboard", "NATS", PER_CPU),
                1.4,
                comparison.control("Callboard", PER_CPU),
            ));
        }
    }
    let names: Vec<String> = tables[0].1.names().into_iter().map(str::to_owned).collect();
    let group = |(shape, comparison): &(&str, Comparison)| {
        let bars = names.iter().map(|name| comparison.spread(name, PER_CPU));
        ((*shape).to_owned(), bars.collect())
    };
    let plot = Plot::Bars(Bars {
        title: "Calls per CPU second of the server, 64 in flight".to_owned(),
        unit: Unit::PerSecond,
        groups: tables.iter().map(group).collect(),
        legend: names,
    });
    let mut captioned = Vec::new();
    for (shape, comparison) in tables {
        captioned.push((format!("64 in flight, {shape}"), comparison));
    }
    Section {
        key: "calls",
        title: "Calls per CPU second, 64 in flight".to_owned(),
        text: "The same calls, 64 at a time: by 64 pairs of connections with one call each; by one pair, each frame with \
               a write of its own; and by one pair, with one write for all frames of one read. Each answer starts the \
               next call."
            .to_owned(),
        verdicts,
        plot,
        tables: captioned,
    }
}
