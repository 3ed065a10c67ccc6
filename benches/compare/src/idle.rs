//! What a connection weighs that watches a board and does nothing: bytes of the server's user-space memory, once with
//! few connections and once with many.

use crate::comparison::{Comparison, Metric, Unit};
use crate::crowd::Crowd;
use crate::page::grouped;
use crate::section::{Bars, Plot, Section, Verdict};
use crate::server::Kind;
use crate::target::{Programs, Target};
use crate::wire::Fault;

const METRICS: [Metric; 1] = [Metric {
    name: "user space, each connection",
    unit: Unit::Bytes,
}];

/// What it may weigh in Callboard.
const MOST: f64 = 600.0;

/// Connections that are there before memory is read: what the first ones make a server set up is not counted.
const FIRST: usize = 10;

/// Of so many etcd's connections are weighed: each takes a hundred times as much.
const PART_OF_ETCD: usize = 10;

/// A target without connections: the figures of [`METRICS`].
fn weigh(target: &Target, connections: usize) -> Result<Vec<f64>, Fault> {
    let _first = Crowd::join(target, FIRST)?;
    let before = target.memory();
    let _crowd = Crowd::join(target, connections)?;
    let grown = target.memory().saturating_sub(before);
    Ok(vec![grown as f64 / connections as f64])
}

pub(crate) fn ask(programs: &Programs, connections: usize, rounds: usize) -> Section {
    let peers = Kind::PEERS
        .into_iter()
        .filter(|kind| programs.peers.iter().any(|(it, _)| it == kind));
    let mut kinds: Vec<Kind> = [Kind::Callboard].into_iter().chain(peers).collect();
    kinds.push(Kind::Callboard);
    let names = kinds.iter().map(|kind| kind.name());
    let mut comparison = Comparison::new(&METRICS, names);
    comparison.alternate(rounds, &mut kinds, |kind| {
        let target = match kind {
            Kind::Callboard => Target::callboard(programs)?,
            _ => Target::peer(*kind, programs)?.ok_or("it is not there")?,
        };
        let part = if *kind == Kind::Etcd { PART_OF_ETCD } else { 1 };
        weigh(&target, connections / part)
    });
    let weight = comparison.spread("Callboard", 0);
    let all = grouped(connections as f64);
    Section {
        key: "idle",
        title: format!("{all} idle connections"),
        text: format!(
            "{all} connections that watch an empty board (or have subscribed) and hear nothing; {} of etcd, with a watch \
             each. The anonymous memory of the server's process (`smaps_rollup`) beyond what it was with {FIRST}, for \
             each. The kernel's buffers are not in it. A bare loop keeps nothing worth weighing.",
            grouped((connections / PART_OF_ETCD) as f64)
        ),
        verdicts: vec![Verdict {
            target: format!("at most {MOST} bytes of user space"),
            measured: weight.map_or_else(
                || "not measured".to_owned(),
                |it| format!("{} bytes", crate::page::figure(it)),
            ),
            control: comparison
                .control("Callboard", 0)
                .map_or_else(|| "-".to_owned(), crate::section::times),
            met: weight.map(|it| it.median <= MOST),
        }],
        plot: Plot::Bars(Bars::of("An idle connection", &comparison, &[0])),
        tables: vec![(String::new(), comparison)],
    }
}
