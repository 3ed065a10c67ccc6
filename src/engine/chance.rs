//! All chance in one place: session keys, epochs, jitter and hash keys come from one seed, so that a
//! simulation can repeat a run. Never asks the system.

use std::hash::BuildHasher;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use siphasher::sip::SipHasher13;

/// The engine's cryptographically strong source of chance.
#[derive(Debug)]
pub(super) struct Chance(StdRng);

impl Chance {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number other than 0, so that 0 can mean "none" on the wire.
    pub(super) fn epoch(&mut self) -> u64 {
        self.number() | 1
    }

    /// Something nobody can guess.
    pub(super) fn key(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        self.0.fill_bytes(&mut key);
        key
    }

    /// Between 0 and `bound`, both included.
    pub(super) fn up_to(&mut self, bound: u64) -> u64 {
        self.number() % (bound + 1)
    }

    pub(super) fn hash_keys(&mut self) -> Keyed {
        Keyed {
            k0: self.number(),
            k1: self.number(),
        }
    }
}

/// Hashes with SipHash under keys that a peer can't know: peers choose the names that end up in maps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed {
    k0: u64,
    k1: u64,
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0, self.k1)
    }
}
