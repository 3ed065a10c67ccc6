//! A board that is full before anything is measured: functions with numbers for names, registered by as many workers
//! as that takes. Measures nothing.

use crate::crowd::Crowd;
use crate::target::Target;
use crate::wire::{DIGITS, Fault, Tongue, put, register_batch};

/// What each function says of itself.
pub(crate) const DESCRIPTION: &str = "Takes an order and answers with its number";

/// Functions in one registration.
const BATCH: u64 = 1_000;

/// Functions of one worker; it may have a few more.
const EACH: u64 = 60_000;

/// Puts on their way together; a connection to etcd takes no more.
const PUTS: u64 = 64;

/// A board of functions, or of keys. It is empty again when this is dropped, in Callboard at least.
pub(crate) struct Board(#[allow(dead_code, reason = "they hold it")] Vec<Crowd>);

/// The name of a function on it. Numbers begin with 1.
pub(crate) fn name(number: u64) -> String {
    format!("board::n{number:0DIGITS$}")
}

impl Board {
    pub(crate) fn fill(target: &Target, functions: u64) -> Result<Self, Fault> {
        if target.tongue == Tongue::Etcd {
            return Self::fill_keys(target, functions);
        }
        let (mut workers, mut next) = (Vec::new(), 1);
        while next <= functions {
            let mut worker = Crowd::join(target, 0)?;
            worker.new_publisher(target)?;
            let end = (next + EACH).min(functions + 1);
            while next < end {
                let numbers = next..(next + BATCH).min(end);
                next = numbers.end;
                let names: Vec<String> = numbers.map(name).collect();
                let batch: Vec<(&str, &str)> =
                    names.iter().map(|name| (&**name, DESCRIPTION)).collect();
                let sent = worker.request(1, |id, out| register_batch(id, &batch, out))?;
                worker.until(|worker| worker.answered() == sent)?;
            }
            workers.push(worker);
        }
        Ok(Self(workers))
    }

    fn fill_keys(target: &Target, keys: u64) -> Result<Self, Fault> {
        let mut worker = Crowd::join(target, 0)?;
        worker.new_publisher(target)?;
        let mut sent = 0;
        while sent < keys {
            let count = PUTS.min(keys - sent);
            sent = worker.request(count, |number, out| put(number, DESCRIPTION, out))?;
            worker.until(|worker| worker.answered() == sent)?;
        }
        Ok(Self(vec![worker]))
    }
}
