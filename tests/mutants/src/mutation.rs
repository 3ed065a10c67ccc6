//! A mutation: one small change at one place of the sources, and the switch that chooses between it and what stands
//! there. Knows no file system.

use std::fmt;
use std::ops::Range;

/// Identifies a mutation by its place and its change. Edits elsewhere leave it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(u64);

/// As many bits as an id has: ten digits.
const ID_BITS: u32 = 40;

impl Id {
    pub(crate) fn of(key: &str) -> Self {
        Self(hash(key.as_bytes()) >> (u64::BITS - ID_BITS))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = u64::from_str_radix(text, 16).ok()?;
        (number >> ID_BITS == 0).then_some(Self(number))
    }

    /// The place of this mutation in the draw of a seed.
    pub(crate) fn lot(self, seed: u64) -> u64 {
        mix(self.0 ^ mix(seed.wrapping_add(1)))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

/// FNV-1a, mixed. The same in each build, as ids and fingerprints outlive a run.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The finalizer of splitmix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The folders whose sources are mutated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Folder {
    Protocol,
    Engine,
    Server,
    Worker,
}

impl Folder {
    pub(crate) const ALL: [Self; 4] = [Self::Protocol, Self::Engine, Self::Server, Self::Worker];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Engine => "engine",
            Self::Server => "server",
            Self::Worker => "worker",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutation {
    pub(crate) id: Id,
    pub(crate) folder: Folder,
    /// From the repository's root.
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) function: String,
    /// The change, for people.
    pub(crate) what: String,
    /// The bytes of the file around which the switch is put.
    pub(crate) span: Range<usize>,
    pub(crate) change: Change,
}

impl Mutation {
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} {}:{} `{}`: {}",
            self.id, self.file, self.line, self.function, self.what
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Another expression in place of this one.
    Replace(String),
    /// The opposite of a condition.
    Negate,
    /// A statement is not executed.
    Omit,
    /// A function without a result returns at once; the span is empty, at the start of its body.
    Return,
    /// A match arm is never taken. The span is its guard, or empty at the end of its pattern.
    SkipArm { guarded: bool },
}

impl Change {
    /// The texts before and behind the original. `on` is the expression that says whether the mutant is active.
    pub(crate) fn around(&self, on: &str) -> (String, String) {
        match self {
            Self::Replace(other) => (
                format!("(if {on} {{ {other} }} else {{ ("),
                ") })".to_owned(),
            ),
            Self::Negate => (format!("({on} != ("), "))".to_owned()),
            Self::Omit => (format!("if !{on} {{ "), " }".to_owned()),
            Self::Return => (format!(" if {on} {{ return; }}"), String::new()),
            Self::SkipArm { guarded: true } => (format!("!{on} && ("), ")".to_owned()),
            Self::SkipArm { guarded: false } => (format!(" if !{on}"), String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = Id::of("src/engine/mod.rs seal #1");
        assert_eq!(Id::parse(&id.to_string()), Some(id));
        assert_eq!(id.to_string().len(), 10);
        assert_eq!(Id::parse("10000000000"), None);
        assert_eq!(Id::parse("mutant"), None);
    }

    #[test]
    fn each_seed_has_an_order_of_its_own() {
        let ids: Vec<Id> = (0..50).map(|n| Id::of(&format!("place {n}"))).collect();
        let order = |seed| {
            let mut ids = ids.clone();
            ids.sort_by_key(|id| id.lot(seed));
            ids
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_ne!(order(0), order(1));
    }
}
