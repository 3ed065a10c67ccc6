//! The engine's random numbers: session keys, epochs, jitter and hash keys all come from one seed, so a simulation
//! can repeat a run. Never asks the system.

use std::hash::{BuildHasher, Hasher};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use siphasher::sip::SipHasher13;

/// A cryptographically strong random number generator.
#[derive(Debug)]
pub(crate) struct Rng(StdRng);

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A non-zero number: on the wire 0 means "none".
    pub(crate) fn epoch(&mut self) -> u64 {
        self.number() | 1
    }

    /// An unguessable key.
    pub(crate) fn session_key(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        self.0.fill_bytes(&mut key);
        key
    }

    /// A number from 0 to `bound`, both included.
    pub(crate) fn up_to(&mut self, bound: u64) -> u64 {
        self.number() % (bound + 1)
    }

    pub(crate) fn hash_keys(&mut self) -> HashKeys {
        HashKeys {
            k0: self.number(),
            k1: self.number(),
        }
    }
}

/// Keys of a SipHash. Peers choose the names in the engine's maps and can't know the keys, so they can't choose
/// names that collide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HashKeys {
    k0: u64,
    k1: u64,
}

impl HashKeys {
    /// Hash keys for a map keyed by numbers that a peer chooses.
    pub(crate) fn for_numbers(self) -> NumberHashKeys {
        NumberHashKeys {
            k0: self.k0,
            k1: self.k1 | 1,
        }
    }
}

/// Keys of a hash of single numbers: one multiplication, a tenth of the cost of SipHash, for maps that each call uses
/// several times. Peers know neither the keys nor their effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberHashKeys {
    k0: u64,
    k1: u64,
}

/// The hash of one number.
pub(crate) struct NumberHasher {
    keys: NumberHashKeys,
    hash: u64,
}

impl BuildHasher for NumberHashKeys {
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

impl BuildHasher for HashKeys {
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
        let keys = Rng::new([3; 32]).hash_keys().for_numbers();
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
