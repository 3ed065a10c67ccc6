//! All chance in one place: session keys, epochs, jitter and hash keys come from one seed, so that a
//! simulation can repeat a run. Never asks the system.

use std::hash::{BuildHasher, Hasher};

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

impl Keyed {
    /// Keys for a map whose keys are numbers that a peer chooses.
    pub(super) fn for_numbers(self) -> KeyedNumbers {
        KeyedNumbers {
            k0: self.k0,
            k1: self.k1 | 1,
        }
    }
}

/// Hashes single numbers with one multiplication, under keys that a peer can't know, and whose effect it never
/// sees: a tenth of what SipHash costs, in maps that are used several times a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyedNumbers {
    k0: u64,
    k1: u64,
}

/// The hash of one number.
pub(super) struct NumberHasher {
    keys: KeyedNumbers,
    hash: u64,
}

impl BuildHasher for KeyedNumbers {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher {
            keys: *self,
            hash: 0,
        }
    }
}

impl Hasher for NumberHasher {
    fn write_u64(&mut self, number: u64) {
        let product = u128::from(number ^ self.keys.k0) * u128::from(self.keys.k1);
        self.hash ^= (product >> 64) as u64 ^ product as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.hash ^ u64::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0, self.k1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_pattern_spread_over_the_buckets_of_a_map() {
        let keys = Chance::new([3; 32]).hash_keys().for_numbers();
        for shift in 0..48 {
            // As a map of 2,048 buckets takes them: the low bits.
            let mut used = [0_u32; 2048];
            for number in 0..1024_u64 {
                used[(keys.hash_one(number << shift) % 2048) as usize] += 1;
            }
            let most = used.iter().max();
            assert!(most < Some(&12), "{most:?} in one bucket, {shift}");
        }
    }
}
