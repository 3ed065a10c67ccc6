//! Socket benches: an engine in a process of its own, its peers in this one, TCP on the loopback between
//! them. Counts what can be counted and prints times as information only.
//! `cargo bench --bench sockets -- [idle] [fanout] [stalled]`; without a word, all three.

mod engine;
mod fanout;
mod idle;
mod peer;
mod stalled;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo bench --bench sockets -- [idle] [fanout] [stalled]";

fn main() -> ExitCode {
    if let Some(flags) = engine::flags() {
        return engine::serve(&flags);
    }
    // Cargo adds `--bench`.
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    wanted.retain(|word| word != "--bench");
    if wanted.is_empty() {
        wanted = ["idle", "fanout", "stalled"].map(str::to_owned).to_vec();
    }
    for word in wanted {
        match &*word {
            "idle" => idle::bench(),
            "fanout" => fanout::bench(),
            "stalled" => stalled::bench(),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}
