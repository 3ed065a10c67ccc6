//! The users of a run: where they connect from, and by which token an engine with credentials knows them.

use std::net::Ipv4Addr;

use callboard::engine::TokenHash;

/// A user. Without credentials its address is its identity, with credentials its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    Attacker,
    Bystander,
    /// Reads the counters, and does nothing else.
    Operator,
}

impl User {
    pub(super) fn from(self) -> Ipv4Addr {
        match self {
            Self::Attacker => Ipv4Addr::LOCALHOST,
            Self::Bystander => Ipv4Addr::new(127, 0, 0, 2),
            Self::Operator => Ipv4Addr::new(127, 0, 0, 3),
        }
    }

    /// An engine without credentials ignores it.
    pub(super) fn token(self) -> &'static str {
        match self {
            Self::Attacker => "attacker-of-the-bench",
            Self::Bystander => "bystander-of-the-bench",
            Self::Operator => "operator-of-the-bench",
        }
    }
}

/// A credentials file with all three. The attacker may observe everything, or the same by two prefixes: its rights
/// change with each reload, and what it sees stays the same.
pub(super) fn credentials(by_prefixes: bool) -> String {
    let hash = |user: User| TokenHash::of(user.token());
    let observe = if by_prefixes {
        r#"["target::", "bystander::"]"#
    } else {
        r#"[""]"#
    };
    let principal = |name, user, observe| {
        format!(
            "[principals.{name}]\ntokens = [\"{}\"]\nregister = [\"\"]\ncall = [\"\"]\nemit = [\"\"]\n\
             bind = [\"\"]\nobserve = {observe}\n",
            hash(user)
        )
    };
    format!(
        "{}{}[principals.operator]\ntokens = [\"{}\"]\nobserve = [\"\"]\nadmin = [\"engine::\"]\n",
        principal("attacker", User::Attacker, observe),
        principal("bystander", User::Bystander, r#"[""]"#),
        hash(User::Operator)
    )
}
