//! Socket benches: an engine in a process of its own, its peers in this one, sockets of this machine between
//! them. Counts what can be counted; prints times as information only, or beside those of a relay.
//! `cargo bench --bench sockets -- [idle] [fanout] [stalled] [calls] [spin] [crowd] [flood]`; without a
//! word, all seven. `attack` stands alone, with options of its own.

mod attack;
mod calls;
mod crowd;
mod engine;
#[path = "../../tests/fleet/exchange.rs"]
mod exchange;
mod fanout;
mod flood;
mod idle;
mod load;
mod pace;
mod peer;
mod process;
mod ratio;
mod relay;
mod spin;
mod stalled;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo bench --bench sockets -- [idle] [fanout] [stalled] [calls] [spin] [crowd] [flood]
       cargo bench --bench sockets -- attack [ROW…] [--n N,N…] [--user other|same] [--seconds N] [--engine FILE]";

fn main() -> ExitCode {
    if let Some(role) = process::role() {
        return match role.split(' ').next() {
            Some(relay::ROLE) => relay::serve(&role),
            Some(engine::ROLE) => engine::serve(&role),
            Some(attack::ROLE) => attack::serve(&role),
            _ => panic!("no such role: {role}"),
        };
    }
    // Cargo adds `--bench`.
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    wanted.retain(|word| word != "--bench");
    if let Some((first, words)) = wanted.split_first()
        && first == "attack"
    {
        return attack::bench(words);
    }
    if wanted.is_empty() {
        wanted = [
            "idle", "fanout", "stalled", "calls", "spin", "crowd", "flood",
        ]
        .map(str::to_owned)
        .to_vec();
    }
    for word in wanted {
        match &*word {
            "idle" => idle::bench(),
            "fanout" => fanout::bench(),
            "stalled" => stalled::bench(),
            "calls" => calls::bench(),
            "spin" => spin::bench(),
            "crowd" => crowd::bench(),
            "flood" => flood::bench(),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}
