//! One worker joins a full board: how long from the connecting until it has all of it. The floor sends as many bytes
//! as Callboard does; to etcd it is a watch and a range over all keys. What came is looked into after the clock has
//! stopped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::board::Board;
use crate::comparison::{Comparison, Metric, Unit};
use crate::crowd::PATIENCE;
use crate::figures::Series;
use crate::page::grouped;
use crate::section::{Bars, Plot, Section, Verdict};
use crate::server::Kind;
use crate::target::{Programs, Target};
use crate::wire::{Arrival, Fault, join, joined_board, joiner};

const TIME: usize = 0;

const METRICS: [Metric; 3] = [
    Metric {
        name: "until all is there",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "CPU of the server",
        unit: Unit::Microseconds,
    },
    Metric {
        name: "on the wire",
        unit: Unit::Bytes,
    },
];

/// Bytes read at once.
const SCRATCH: usize = 256 * 1024;

/// A target whose board is full.
struct Full {
    target: Target,
    functions: u64,
    /// What the floor sends.
    bytes: u64,
    /// What was read, so many bytes of it. The memory is kept from join to join.
    read: Vec<u8>,
    held: usize,
    _board: Option<Board>,
}

impl Full {
    fn new(target: Target, functions: u64) -> Result<Self, Fault> {
        let board = Board::fill(&target, functions)?;
        Ok(Self {
            target,
            functions,
            bytes: 0,
            read: Vec::new(),
            held: 0,
            _board: Some(board),
        })
    }

    fn floor(bytes: u64) -> Self {
        Self {
            target: Target::floor(),
            functions: 0,
            bytes,
            read: Vec::new(),
            held: 0,
            _board: None,
        }
    }

    /// One worker joins. Returns how long it took; `read` holds what came.
    fn join(&mut self) -> Result<Duration, Fault> {
        let mut arrival = Arrival::new(self.target.tongue, self.bytes);
        let hello = match self.bytes {
            0 => join(self.target.tongue),
            bytes => joiner(bytes),
        };
        self.held = 0;
        let began = Instant::now();
        let all = (|| {
            let mut stream = TcpStream::connect(self.target.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&hello)?;
            loop {
                let end = self.held + SCRATCH;
                if self.read.len() < end {
                    self.read.resize(end, 0);
                }
                let n = stream.read(&mut self.read[self.held..end])?;
                self.held += n;
                if n == 0 || arrival.is_whole(&self.read[..self.held]) {
                    return Ok(n > 0);
                }
            }
        })();
        let took = began.elapsed();
        match all.map_err(|error: std::io::Error| error.to_string())? {
            true => Ok(took),
            false => Err("the server closed the connection".to_owned()),
        }
    }

    /// Workers join for so long, one after the other: the figures of [`METRICS`].
    fn joins(&mut self, length: Duration) -> Result<Vec<f64>, Fault> {
        let (began, used) = (Instant::now(), self.target.processor_time());
        let mut times = Series::default();
        let (mut joins, mut bytes) = (0.0, 0);
        while began.elapsed() < length {
            times.add(self.join()?.as_secs_f64() * 1e6);
            bytes += self.held;
            joins += 1.0;
        }
        let used = self.target.processor_time().saturating_sub(used);
        // Of the last one all is looked at; the others came to an end the same way.
        if self.bytes == 0 {
            joined_board(self.target.tongue, &self.read[..self.held], self.functions)?;
        }
        let median = times.spread().expect("at least one joined").median;
        let used = used.as_secs_f64() * 1e6 / joins;
        Ok(vec![median, used, bytes as f64 / joins])
    }
}

pub(crate) fn ask(
    programs: &Programs,
    functions: u64,
    rounds: usize,
    length: Duration,
) -> Result<Section, Fault> {
    let mut ours = [(); 2].map(|()| {
        let mut full = Full::new(Target::callboard(programs)?, functions)?;
        full.join()?;
        Ok::<Full, Fault>(full)
    });
    let bytes = match &ours[0] {
        Ok(full) => full.held as u64,
        Err(fault) => return Err(fault.clone()),
    };
    let mut all = vec![Full::floor(bytes)];
    let [first, second] = &mut ours;
    all.push(std::mem::replace(first, Err(String::new()))?);
    if let Some(etcd) = Target::peer(Kind::Etcd, programs)? {
        all.push(Full::new(etcd, functions)?);
    }
    all.push(std::mem::replace(second, Err(String::new()))?);
    all.push(Full::floor(bytes));
    let mut comparison = Comparison::new(&METRICS, all.iter().map(|it| it.target.name));
    comparison.alternate(rounds, &mut all, |full| full.joins(length));
    let functions = grouped(functions as f64);
    Ok(Section {
        key: "join",
        title: format!("A worker joins {functions} functions"),
        text: format!(
            "From the connect call until the last byte of the board has arrived: {functions} functions with a description of \
             {} bytes each. etcd is asked for a watch and a range over as many keys with the same bytes.",
            crate::board::DESCRIPTION.len()
        ),
        verdicts: vec![Verdict::at_most(
            "at most 1.5 × sending the same bytes",
            comparison.ratio("Callboard", "floor", TIME),
            1.5,
            comparison.control("floor", TIME),
        )],
        plot: Plot::Bars(Bars::of(
            "A worker joins a full board",
            &comparison,
            &[TIME, 1],
        )),
        tables: vec![(String::new(), comparison)],
    })
}
