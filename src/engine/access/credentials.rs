//! Credentials: the principals that may connect, identified by the hash of a token or as a user of this host, and
//! their rights. Values only; the shell reads them. Never holds a token itself.

use std::collections::BTreeMap;
use std::fmt;

use constant_time_eq::constant_time_eq_32;
use sha2::{Digest, Sha256};

use crate::protocol::{NameError, check_event_name};

use super::rights::Rights;

/// Principals that a line of the log names at the most, of a kind.
const NAMED_MAX: usize = 20;

/// The prefix of a hash in text form.
const ALGORITHM: &str = "sha256:";

/// The SHA-256 of a token. Tokens are long and random, so they can't be guessed and need no slower hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(ALGORITHM)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 32];
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Whether both are equal, in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        constant_time_eq_32(&self.0, &other.0)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to distinguish two hashes in a test.
        write!(f, "TokenHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// Checks the name of a namespace.
pub fn check_namespace(name: &str) -> Result<(), NameError> {
    check_event_name(name)
}

/// An identity that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its name in the credentials file and in messages.
    pub name: String,
    /// The only namespace it may join.
    pub namespace: String,
    /// Its tokens: two while one replaces the other.
    pub tokens: Vec<TokenHash>,
    /// Local users that are this principal without a token, over a Unix socket.
    pub uids: Vec<u32>,
    /// Its part of a contended engine, compared with those of other users, from 1 to [`Principal::WEIGHT_MAX`].
    pub weight: u32,
    /// The lowest tier that its workers may ask for, and the one of those that name none.
    pub tier: u64,
    /// Its rights in that namespace.
    pub rights: Rights,
}

impl Principal {
    /// The largest weight.
    pub const WEIGHT_MAX: u32 = 1000;
}

/// The principals that may connect. No two share a token or a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    principals: Vec<Principal>,
}

impl Credentials {
    /// Credentials of these principals. If several share a token or a user, the last one gets it; the reader of the
    /// credentials file refuses such a file.
    #[must_use]
    pub fn new(principals: Vec<Principal>) -> Self {
        Self { principals }
    }

    /// All principals, in the order of the file.
    #[must_use]
    pub fn principals(&self) -> &[Principal] {
        &self.principals
    }

    /// The differences from older credentials, for people.
    pub(crate) fn differences(&self, older: &Self) -> String {
        let (before, now) = (older.by_name(), self.by_name());
        let is_added = |it: &&Principal| !before.contains_key(&*it.name);
        let is_removed = |it: &&Principal| !now.contains_key(&*it.name);
        let is_changed = |it: &&Principal| before.get(&*it.name).is_some_and(|old| old != it);
        let added = self.principals.iter().filter(is_added);
        let removed = older.principals.iter().filter(is_removed);
        let changed = self.principals.iter().filter(is_changed);
        format!(
            "added: {}; removed: {}; changed: {}",
            named(added),
            named(removed),
            named(changed)
        )
    }

    fn by_name(&self) -> BTreeMap<&str, &Principal> {
        let principals = self.principals.iter();
        principals.map(|it| (&*it.name, it)).collect()
    }

    /// The principal of a token. Takes as long for an unknown token as for a known one.
    #[must_use]
    pub fn by_token(&self, token: &str) -> Option<&Principal> {
        let presented = TokenHash::of(token);
        let mut found = None;
        for principal in &self.principals {
            for hash in &principal.tokens {
                if hash.matches(&presented) {
                    found = Some(principal);
                }
            }
        }
        found
    }
}

/// The names of principals, the first of them if they are many.
fn named<'a>(principals: impl Iterator<Item = &'a Principal>) -> String {
    let names: Vec<String> = principals.map(|it| format!("{:?}", it.name)).collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > NAMED_MAX => {
            let more = count - NAMED_MAX;
            format!("{} and {more} more", names[..NAMED_MAX].join(", "))
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_principals_and_not_what_is_secret() {
        let principal = |name: &str, tier| Principal {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            tokens: vec![TokenHash::of(name)],
            uids: Vec::new(),
            weight: 1,
            tier,
            rights: Rights::nothing(),
        };
        let older = Credentials::new(vec![
            principal("a", 0),
            principal("b", 0),
            principal("c", 0),
        ]);
        let newer = Credentials::new(vec![
            principal("b", 0),
            principal("c", 1),
            principal("d", 0),
        ]);
        let expected = "added: \"d\"; removed: \"a\"; changed: \"c\"";
        assert_eq!(newer.differences(&older), expected);
        assert_eq!(
            newer.differences(&newer),
            "added: none; removed: none; changed: none"
        );
        for (count, expected) in [(19, "\"18\""), (20, "\"19\""), (21, "\"19\" and 1 more")] {
            let many = (0..count).map(|number| principal(&number.to_string(), 0));
            let told = Credentials::new(many.collect()).differences(&Credentials::default());
            let added = told.split(';').next().unwrap();
            assert!(added.ends_with(expected), "{count}: {added}");
        }
    }

    #[test]
    fn a_hash_reads_back_and_is_that_of_sha_256() {
        // Of FIPS 180-2.
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of("abc").to_string(), known);
        assert_eq!(TokenHash::parse(known), Some(TokenHash::of("abc")));
        for wrong in [
            "",
            "sha256:",
            &known[..70],
            &known[7..],
            &known.replace('b', "g"),
        ] {
            assert_eq!(TokenHash::parse(wrong), None, "{wrong}");
        }
        let upper = known.to_uppercase().replace("SHA256", "sha256");
        assert_eq!(TokenHash::parse(&upper), Some(TokenHash::of("abc")));
    }

    #[test]
    fn hashes_match_if_and_only_if_tokens_are_the_same() {
        assert!(TokenHash::of("a").matches(&TokenHash::of("a")));
        assert!(!TokenHash::of("a").matches(&TokenHash::of("b")));
    }

    #[test]
    fn what_debugging_shows_of_a_hash_is_not_the_hash() {
        let shown = format!("{:?}", TokenHash::of("abc"));
        assert!(shown.len() < 24, "{shown}");
    }
}
