//! Callboard's own protocol as a load speaks it: frames made with the library's types, and a reader that walks over
//! the entries of a frame without keeping any. It holds the engine to the protocol: each change must lead on from
//! the last one.

use callboard::protocol::{
    Changes, Definition, FunctionSection, Goodbye, Hello, HelloOptions, Message, Outcome, Ping,
    Pong, Register, Resync, Sections, Snapshot, Synced, Text, Unregister, VERSION, Watch, Welcome,
};
use rmp::decode::{read_array_len, read_bool, read_int, read_map_len, read_str_len};

use super::{Carry, FRAME, Fault, News, TOGGLED, number_at_end, shown};

const HEADER: usize = 4;

/// The revisions of a frame that has [`FRAME`] bytes: from 256 to 65,535. Lower ones take less, higher ones four
/// bytes more.
const FROM: u64 = 1_000;

pub(super) fn hello(watching: bool) -> Vec<u8> {
    let watch = Watch {
        functions: watching.then(|| vec![Text("")]),
        ..Watch::default()
    };
    let hello = Hello {
        versions: vec![VERSION],
        name: Text("a peer of the bench"),
        namespace: Text("default"),
        ext: HelloOptions {
            watch: Some(watch),
            ..HelloOptions::default()
        },
    };
    hello.to_frame()
}

fn name(number: u64) -> String {
    format!("churn::n{number:010}")
}

fn definition<'a>(name: &'a str, description: &'a str) -> Definition<'a> {
    Definition {
        name: Text(name),
        description: Text(description),
        ..Definition::default()
    }
}

/// A description with which the change that adds a function takes [`FRAME`] bytes.
fn describe() -> &'static str {
    use std::sync::OnceLock;
    static DESCRIPTION: OnceLock<String> = OnceLock::new();
    DESCRIPTION.get_or_init(|| {
        let with = |length: usize| {
            let description = ".".repeat(length);
            let name = name(1);
            let added = vec![definition(&name, &description)];
            let changes = Changes {
                from: FROM,
                to: FROM + 1,
                sections: Sections {
                    functions: FunctionSection {
                        added,
                        ..FunctionSection::default()
                    },
                    ..Sections::default()
                },
                ..Changes::default()
            };
            changes.to_frame().len()
        };
        let length = (1..FRAME).find(|&length| with(length) >= FRAME);
        ".".repeat(length.expect("a description fills a frame"))
    })
}

pub(super) fn publish(number: u64, out: &mut Vec<u8>) {
    register(number, &name(number), describe(), out);
}

/// Appends the registration of one function.
pub(crate) fn register(id: u64, name: &str, description: &str, out: &mut Vec<u8>) {
    register_batch(id, &[(name, description)], out);
}

/// Appends the registration of some functions, with their descriptions, in one frame.
pub(crate) fn register_batch(id: u64, functions: &[(&str, &str)], out: &mut Vec<u8>) {
    let definitions = functions
        .iter()
        .map(|(name, description)| definition(name, description));
    let register = Register {
        id,
        functions: definitions.collect(),
        ..Register::default()
    };
    register.encode(out);
}

/// Appends a change of one function that is there, or not: the first number puts it on the board, the next
/// takes it off, and so on.
pub(crate) fn toggle(number: u64, out: &mut Vec<u8>) {
    let name = name(TOGGLED);
    if number % 2 == 1 {
        register(number, &name, describe(), out);
        return;
    }
    let unregister = Unregister {
        id: number,
        names: vec![Text(&name)],
        ..Unregister::default()
    };
    unregister.encode(out);
}

pub(crate) struct Reader {
    carry: Carry,
    view: View,
}

/// How far a connection's view of the board is.
struct View {
    watching: bool,
    /// Since SYNCED.
    revision: Option<u64>,
}

impl Reader {
    pub(crate) fn new(watching: bool) -> Self {
        Self {
            carry: Carry::default(),
            view: View {
                watching,
                revision: None,
            },
        }
    }

    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        answers: &mut Vec<u8>,
        news: &mut dyn FnMut(News) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let view = &mut self.view;
        self.carry.cut(bytes, |bytes| {
            let Some(header) = bytes.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let end = HEADER + u32::from_be_bytes(*header) as usize;
            let Some(body) = bytes.get(HEADER..end) else {
                return Ok(None);
            };
            view.handle(body, answers, news)?;
            Ok(Some(end))
        })
    }
}

impl View {
    fn handle(
        &mut self,
        body: &[u8],
        answers: &mut Vec<u8>,
        news: &mut dyn FnMut(News) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let broken = || format!("unexpected: {}", shown(body));
        let mut rest = body;
        let elements = read_array_len(&mut rest).map_err(|_| broken())?;
        let kind: u64 = read_int(&mut rest).map_err(|_| broken())?;
        match kind {
            // A watcher is ready when it has the board.
            Welcome::KIND if self.watching => {}
            Welcome::KIND => news(News::Ready)?,
            Resync::KIND if self.revision.is_some() => {
                return Err("fell off the change log: RESYNC".to_owned());
            }
            Resync::KIND => {}
            Snapshot::KIND => entries(&mut rest, news).ok_or_else(broken)??,
            Synced::KIND => {
                self.revision = Some(read_int(&mut rest).map_err(|_| broken())?);
                news(News::Ready)?;
            }
            Changes::KIND => {
                let from: u64 = read_int(&mut rest).map_err(|_| broken())?;
                let to: u64 = read_int(&mut rest).map_err(|_| broken())?;
                let more = read_bool(&mut rest).map_err(|_| broken())?;
                if self.revision.is_some_and(|mine| from > mine || mine >= to) {
                    return Err(format!(
                        "a change from {from} to {to} at revision {:?}",
                        self.revision
                    ));
                }
                if elements > 4 {
                    entries(&mut rest, news).ok_or_else(broken)??;
                }
                if self.revision.is_some() && !more {
                    self.revision = Some(to);
                }
            }
            Outcome::KIND => news(News::Done)?,
            Ping::KIND => Pong {
                revision: self.revision.unwrap_or_default(),
                ..Pong::default()
            }
            .encode(answers),
            Goodbye::KIND => return Err(format!("GOODBYE: {}", shown(body))),
            _ => return Err(broken()),
        }
        Ok(())
    }
}

/// The length of the frame that some bytes begin with, and its kind, if all of it is there.
pub(super) fn head(bytes: &[u8]) -> Option<(usize, u8)> {
    let length = HEADER + u32::from_be_bytes(*bytes.first_chunk::<HEADER>()?) as usize;
    let kind = *bytes.get(HEADER + 1)?;
    (bytes.len() >= length).then_some((length, kind))
}

/// The kind behind which a board is whole.
pub(super) const SYNCED: u8 = Synced::KIND as u8;

/// What the skimming reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skimmed {
    Welcome,
    /// The view shows this revision: it is whole, or was changed.
    Shows(u64),
    /// A registration ended well, and this revision has it.
    Registered(u64),
}

/// Follows a connection by the beginnings of its frames. The rest is not kept: thousands that join at once
/// would fill the load's memory and its time.
#[derive(Default)]
pub(crate) struct Skimmer {
    head: Vec<u8>,
    skip: usize,
    synced: bool,
}

/// As much of a frame as is looked at.
const SKIMMED: usize = 64;

impl Skimmer {
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        mut news: impl FnMut(Skimmed) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let length = |head: &[u8]| {
                let header = head.first_chunk::<HEADER>()?;
                Some(HEADER + u32::from_be_bytes(*header) as usize)
            };
            // The length first, then what is looked at.
            let wanted = length(&self.head).map_or(HEADER, |length| length.min(SKIMMED));
            let taken = (wanted - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            let Some(length) = length(&self.head) else {
                continue;
            };
            if self.head.len() == length.min(SKIMMED) {
                self.skip = length - self.head.len();
                let skimmed = self.handle()?;
                self.head.clear();
                skimmed.map_or(Ok(()), &mut news)?;
            }
        }
        Ok(())
    }

    fn handle(&mut self) -> Result<Option<Skimmed>, Fault> {
        let body = &self.head[HEADER..];
        let broken = || format!("unexpected: {}", shown(body));
        let mut rest = body;
        read_array_len(&mut rest).map_err(|_| broken())?;
        let kind: u64 = read_int(&mut rest).map_err(|_| broken())?;
        let mut number = || read_int(&mut rest).map_err(|_| broken());
        Ok(match kind {
            Welcome::KIND => Some(Skimmed::Welcome),
            Resync::KIND | Snapshot::KIND | Ping::KIND => None,
            Synced::KIND => {
                self.synced = true;
                Some(Skimmed::Shows(number()?))
            }
            Changes::KIND => {
                let (_from, to) = (number()?, number()?);
                let more = read_bool(&mut rest).map_err(|_| broken())?;
                (self.synced && !more).then_some(Skimmed::Shows(to))
            }
            Outcome::KIND => match Message::decode(body) {
                Ok(Message::Outcome(outcome)) => Some(Skimmed::Registered(
                    outcome.ext.revision.ok_or_else(broken)?,
                )),
                _ => return Err(broken()),
            },
            _ => return Err(broken()),
        })
    }
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_str_len(rest).ok()? as usize;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text)
}

/// Walks over sections, of which there must be none but that of functions. `None` if they are not as they should
/// be; what `news` says otherwise.
fn entries(
    rest: &mut &[u8],
    news: &mut dyn FnMut(News) -> Result<(), Fault>,
) -> Option<Result<(), Fault>> {
    for _ in 0..read_map_len(rest).ok()? {
        if text(rest)? != b"functions" {
            return None;
        }
        for _ in 0..read_map_len(rest).ok()? {
            let what = text(rest)?;
            for _ in 0..read_array_len(rest).ok()? {
                let told = match what {
                    b"removed" => number_at_end(text(rest)?).map(News::Gone),
                    b"added" => number_at_end(entry(rest)?).map(News::Entry),
                    b"updated" => number_at_end(entry(rest)?).map(News::Updated),
                    _ => return None,
                };
                if let Err(fault) = told.and_then(&mut *news) {
                    return Some(Err(fault));
                }
            }
        }
    }
    Some(Ok(()))
}

/// The name of the definition that comes next.
fn entry<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut name = None;
    for _ in 0..read_map_len(rest).ok()? {
        match text(rest)? {
            b"name" => name = Some(text(rest)?),
            b"description" => drop(text(rest)?),
            _ => return None,
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use callboard::protocol::OutcomeOptions;

    use super::super::Tongue;
    use super::super::tests::{fault, in_pieces};
    use super::*;

    fn added(from: u64, numbers: &[u64]) -> Vec<u8> {
        let names: Vec<String> = numbers.iter().map(|&number| name(number)).collect();
        let changes = Changes {
            from,
            to: from + 1,
            sections: Sections {
                functions: FunctionSection {
                    added: names
                        .iter()
                        .map(|name| definition(name, describe()))
                        .collect(),
                    ..FunctionSection::default()
                },
                ..Sections::default()
            },
            ..Changes::default()
        };
        changes.to_frame()
    }

    fn synced(revision: u64) -> Vec<u8> {
        let synced = Synced {
            revision,
            ..Synced::default()
        };
        synced.to_frame()
    }

    #[test]
    fn a_change_of_one_function_has_the_size_of_all_targets_changes() {
        assert_eq!(added(FROM, &[7]).len(), FRAME);
    }

    #[test]
    fn what_changes_is_found_in_any_pieces() {
        let name = name(7);
        let removed = Changes {
            from: 1_001,
            to: 1_003,
            sections: Sections {
                functions: FunctionSection {
                    removed: vec![Text(&name)],
                    ..FunctionSection::default()
                },
                ..Sections::default()
            },
            ..Changes::default()
        };
        let stream = [synced(FROM), added(FROM, &[7, 8]), removed.to_frame()];
        let wanted = [News::Ready, News::Entry(7), News::Entry(8), News::Gone(7)];
        in_pieces(Tongue::Callboard, &stream.concat(), &wanted);
    }

    #[test]
    fn who_skims_hears_of_revisions_in_any_pieces() {
        let registered = Outcome {
            id: 1,
            ext: OutcomeOptions {
                revision: Some(1_001),
                ..OutcomeOptions::default()
            },
            ..Outcome::default()
        };
        let stream = [
            added(7, &[1]),
            synced(FROM),
            added(FROM, &[7, 8]),
            registered.to_frame(),
        ]
        .concat();
        let wanted = [
            Skimmed::Shows(FROM),
            Skimmed::Shows(FROM + 1),
            Skimmed::Registered(1_001),
        ];
        for at in 0..=stream.len() {
            let (mut skimmer, mut heard) = (Skimmer::default(), Vec::new());
            for piece in [&stream[..at], &stream[at..]] {
                let read = skimmer.read(piece, |it| {
                    heard.push(it);
                    Ok(())
                });
                read.unwrap();
            }
            assert_eq!(heard, wanted, "split at {at}");
        }
    }

    #[test]
    fn a_gap_and_a_goodbye_are_faults() {
        let stream = [synced(FROM), added(FROM + 1, &[7])].concat();
        assert!(fault(Tongue::Callboard, &stream).contains("at revision"));
        let goodbye = Goodbye {
            code: Text("server_full"),
            ..Goodbye::default()
        };
        assert!(fault(Tongue::Callboard, &goodbye.to_frame()).contains("server_full"));
    }
}
