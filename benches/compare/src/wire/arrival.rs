//! The end of a board on its way to a joining worker: found by the heads of frames alone, so that finding it costs
//! next to nothing. Looking into what came is for afterwards.

use super::{Fault, News, Reader, Tongue, callboard, etcd, http2};

/// How far what came has been looked at.
pub(crate) struct Arrival {
    tongue: Tongue,
    /// Bytes that the floor sends.
    bytes: u64,
    at: usize,
    /// Of etcd: the watch is made, the range is over.
    halves: [bool; 2],
}

impl Arrival {
    pub(crate) fn new(tongue: Tongue, bytes: u64) -> Self {
        Self {
            tongue,
            bytes,
            at: 0,
            halves: [false; 2],
        }
    }

    /// Whether the board is there. `read` is all that came so far.
    pub(crate) fn is_whole(&mut self, read: &[u8]) -> bool {
        match self.tongue {
            Tongue::Callboard => {
                let mut over = false;
                while let Some((length, kind)) = callboard::head(&read[self.at..]) {
                    over |= kind == callboard::SYNCED;
                    self.at += length;
                }
                over
            }
            Tongue::Etcd => {
                while let Some((length, stream, kind, ended)) = http2::head(&read[self.at..]) {
                    self.halves[0] |= stream == etcd::FIRST_STREAM && kind == http2::DATA;
                    self.halves[1] |= stream == etcd::SECOND_STREAM && ended;
                    self.at += length;
                }
                self.halves == [true; 2]
            }
            _ => read.len() as u64 >= self.bytes,
        }
    }
}

/// The first frames of a joining worker.
pub(crate) fn join(tongue: Tongue) -> Vec<u8> {
    match tongue {
        Tongue::Etcd => etcd::join(),
        _ => tongue.watch(),
    }
}

/// Checks that what came is a board of the functions 1 to `functions`, each of them once.
pub(crate) fn joined_board(tongue: Tongue, read: &[u8], functions: u64) -> Result<(), Fault> {
    let mut seen = vec![false; functions as usize];
    let mut news = |it| {
        let News::Entry(number) = it else {
            return Ok(());
        };
        let place = (number as usize).checked_sub(1);
        let seen = place.and_then(|place| seen.get_mut(place));
        match seen.map(|seen| std::mem::replace(seen, true)) {
            Some(false) => Ok(()),
            Some(true) => Err(format!("function {number} is there twice")),
            None => Err(format!("function {number} should not be there")),
        }
    };
    let mut answers = Vec::new();
    match tongue {
        Tongue::Etcd => etcd::Reader::default().read_join(read, &mut answers, &mut news)?,
        _ => Reader::new(tongue, true).read(read, &mut answers, &mut news)?,
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    match missing {
        0 => Ok(()),
        _ => Err(format!("{missing} of {functions} functions are missing")),
    }
}

#[cfg(test)]
mod tests {
    use ::callboard::protocol::{Definition, FunctionSection, Sections, Snapshot, Synced, Text};

    use super::*;

    fn board(numbers: &[u64]) -> Vec<u8> {
        let names: Vec<String> = numbers.iter().map(|it| format!("x{it:010}")).collect();
        let definition = |name| Definition {
            name: Text(name),
            ..Definition::default()
        };
        let snapshot = Snapshot {
            sections: Sections {
                functions: FunctionSection {
                    added: names.iter().map(|name| definition(name)).collect(),
                    ..FunctionSection::default()
                },
                ..Sections::default()
            },
            ..Snapshot::default()
        };
        let mut out = snapshot.to_frame();
        Synced::default().encode(&mut out);
        out
    }

    #[test]
    fn a_board_is_whole_with_its_last_byte() {
        let board = board(&[1, 2, 3]);
        for at in 0..board.len() {
            let mut arrival = Arrival::new(Tongue::Callboard, 0);
            assert!(!arrival.is_whole(&board[..at]), "{at}");
            assert!(arrival.is_whole(&board), "{at}");
        }
        assert!(!Arrival::new(Tongue::Raw, 5).is_whole(b"...."));
        assert!(Arrival::new(Tongue::Raw, 5).is_whole(b"....."));
    }

    #[test]
    fn each_function_must_be_there_once() {
        let check = |numbers| joined_board(Tongue::Callboard, &board(numbers), 3);
        assert_eq!(check(&[3, 1, 2]), Ok(()));
        assert!(check(&[1, 2]).unwrap_err().contains("missing"));
        assert!(check(&[1, 2, 2]).unwrap_err().contains("twice"));
        assert!(check(&[1, 2, 3, 4]).unwrap_err().contains("function 4"));
    }
}
