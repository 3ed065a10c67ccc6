//! The fuzz targets as ordinary tests: every input of the committed corpus in `tests/corpus/`, and recorded
//! sessions with bytes flipped, cut out and doubled, by fixed seeds. What a fuzzer found is among the corpus.
//!
//! The inputs that come from the vectors are written by
//! `CALLBOARD_WRITE_CORPUS=1 cargo test --test core fuzz_corpus`.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::PathBuf;

use callboard::protocol::HEADER_LEN;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value as Json;

use crate::fuzzed;
use crate::fuzzed::recording::{Recording, record};

/// Recordings with something wrong in them, of each kind.
const DAMAGED: u64 = 500;

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(target)
}

/// The inputs of a target, by name.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder(target)).expect("a folder for each target");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read(&path).expect("a file"))
        })
        .collect()
}

fn run_corpus(target: &str, run: fn(&[u8])) {
    let inputs = corpus(target);
    assert!(inputs.len() >= 10, "the corpus of {target} is missing");
    for (name, input) in inputs {
        let result = catch_unwind(|| run(&input));
        assert!(result.is_ok(), "tests/corpus/{target}/{name}");
    }
}

#[test]
fn the_corpus_of_frames_holds() {
    run_corpus("frame", fuzzed::frame::run);
}

#[test]
fn the_corpus_of_sessions_holds() {
    run_corpus("session", fuzzed::session::run);
}

#[test]
fn the_corpus_of_the_library_holds() {
    run_corpus("library", fuzzed::library::run);
}

#[test]
fn the_corpus_of_payloads_holds() {
    run_corpus("payload", fuzzed::payload::run);
}

/// No fuzzer makes inputs this long: a REGISTER of the most definitions that a list takes, one byte each.
#[test]
fn the_densest_frame_costs_a_bounded_multiple_of_its_bytes() {
    let list = [0x94, 1, 0, 0xc2, 0xdd];
    let elements = callboard::protocol::MAX_ELEMENTS;
    let length = (elements as u32).to_be_bytes();
    let body = [&list[..], &length, &vec![0x80; elements]].concat();
    let frame = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
    fuzzed::frame::run(&[&[2, 255, 255, 255, 255], &frame[..]].concat());
}

#[test]
fn a_recorded_session_is_one() {
    for has_credentials in [false, true] {
        let recording = record(has_credentials);
        // Both calls before the takeover, the one after it, the engine's list, the event.
        assert_eq!(recording.results, 5, "credentials: {has_credentials}");
        fuzzed::session::run(&recording.session);
        fuzzed::library::run(&recording.library);
        let again = record(has_credentials);
        assert_eq!(
            recording.session, again.session,
            "a recording repeats itself"
        );
    }
}

#[test]
fn sessions_survive_flipped_bytes() {
    survive(
        "session",
        |recording| recording.session,
        fuzzed::session::run,
    );
}

#[test]
fn engines_stop_in_the_midst_of_flipped_bytes() {
    // The first byte says how a session ends.
    let part =
        |recording: Recording| [&[recording.session[0] | 2], &recording.session[1..]].concat();
    survive("stopped session", part, fuzzed::session::run);
}

#[test]
fn the_library_survives_flipped_bytes() {
    survive(
        "library",
        |recording| recording.library,
        fuzzed::library::run,
    );
}

fn survive(what: &str, part: fn(Recording) -> Vec<u8>, run: fn(&[u8])) {
    let wholes = [false, true].map(|has_credentials| part(record(has_credentials)));
    for seed in 0..DAMAGED {
        let whole = &wholes[usize::from(seed % 3 == 2)];
        let damaged = damage(whole, seed);
        let result = catch_unwind(|| run(&damaged));
        assert!(result.is_ok(), "{what}, damaged by seed {seed}");
    }
}

/// A copy with one to eight places damaged.
fn damage(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..=8) {
        let from = rng.random_range(0..bytes.len());
        let to = (from + rng.random_range(1..80)).min(bytes.len());
        match rng.random_range(0..8) {
            0..=2 => bytes[from] ^= 1 << rng.random_range(0..8),
            3 => bytes[from] = rng.random(),
            4 => bytes[from] = [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
            5 => drop(bytes.drain(from..to)),
            6 => {
                let piece = bytes[from..to].to_vec();
                let at = rng.random_range(0..=bytes.len());
                bytes.splice(at..at, piece);
            }
            _ if seed.is_multiple_of(4) => bytes.truncate(from + 1),
            _ => bytes[from..to].reverse(),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

#[test]
fn the_corpus_holds_every_vector() {
    let mut missing = Vec::new();
    for (target, inputs) in from_vectors() {
        let present = corpus_if_any(target);
        for (name, input) in inputs {
            if present.get(&name) == Some(&input) {
                continue;
            }
            if is_writing() {
                write(target, &name, &input);
            } else {
                missing.push(format!("{target}/{name}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "CALLBOARD_WRITE_CORPUS=1 cargo test --test core fuzz_corpus writes what is missing: {missing:?}"
    );
}

/// A new recording differs whenever the engine says something else: it is not compared.
#[test]
fn the_corpus_holds_a_recording() {
    if is_writing() {
        for (name, has_credentials) in [("recorded", false), ("recorded-credentials", true)] {
            let recording = record(has_credentials);
            write("session", name, &recording.session);
            write("library", name, &recording.library);
        }
    }
    for target in ["session", "library"] {
        let inputs = corpus(target);
        assert!(inputs.contains_key("recorded") && inputs.contains_key("recorded-credentials"));
    }
}

fn is_writing() -> bool {
    std::env::var_os("CALLBOARD_WRITE_CORPUS").is_some()
}

fn write(target: &str, name: &str, input: &[u8]) {
    std::fs::create_dir_all(folder(target)).expect("a folder");
    std::fs::write(folder(target).join(name), input).expect("a file");
}

fn corpus_if_any(target: &str) -> BTreeMap<String, Vec<u8>> {
    if folder(target).exists() {
        corpus(target)
    } else {
        BTreeMap::new()
    }
}

type Inputs = BTreeMap<String, Vec<u8>>;

/// The inputs that the vectors make, for each target. Names say where they come from.
fn from_vectors() -> [(&'static str, Inputs); 4] {
    let [mut frames, mut sessions, mut library, mut payloads] = [const { Inputs::new() }; 4];
    for file in ["messages", "accepted", "refused"] {
        for vector in load(file) {
            let name = format!("{file}-{}", vector["name"].as_str().expect("a name"));
            let bytes = from_hex(vector["hex"].as_str().expect("hex"));
            // The default limit, read three, seven and one byte at a time, then all.
            frames.insert(name.clone(), [&[2, 2, 6, 0, 255], &bytes[..]].concat());
            if file == "messages" {
                let view = vector["json"].to_string();
                payloads.insert(format!("{name}-json"), view.into_bytes());
                payloads.insert(format!("{name}-bytes"), bytes[HEADER_LEN..].to_vec());
            }
            if file == "messages" {
                sessions.insert(name.clone(), fuzzed::session::said_after_hello(&bytes));
                library.insert(name, fuzzed::library::told_after_welcome(&bytes));
            }
        }
    }
    [
        ("frame", frames),
        ("session", sessions),
        ("library", library),
        ("payload", payloads),
    ]
}

fn load(file: &str) -> Vec<Json> {
    let path = format!("{}/tests/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("a list of vectors")
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"))
        .collect()
}
