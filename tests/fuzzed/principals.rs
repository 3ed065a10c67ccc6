//! Rights in a fuzzed engine with credentials: the staff may do everything, each guest what the input says, and
//! changes as it goes. Only the staff may observe the secret.

use callboard::engine::{Credentials, Principal, Rights, Rules, TokenHash, Verb};

use super::cursor::Cursor;

/// The rule keepers' token. No stranger has it, and it can't be guessed from what the engine does: it
/// keeps the hash only.
pub const STAFF: &str = "staff-0f5d92c1b7e84a63d0";

/// A function of the staff. No stranger says its name, so the engine may never send it to one.
pub const SECRET: &str = "vault::9f3c61d2a7b84e05";

/// A user of this host who is a guest without a token.
pub const LOCAL_UID: u32 = 1000;

/// Tokens that strangers present. The last belongs to no principal.
pub const TOKENS: [&str; 4] = ["guest", "narrow", "elsewhere", "nobody"];

/// Which names, by two bits of the input.
const RULES: [(&[&str], &[&str]); 4] = [
    (&[""], &["vault::"]),
    (&["a", "engine::"], &["a2", "engine::stats"]),
    (&["", "b1"], &["vault", "b", "well::l"]),
    (&[], &[""]),
];

/// Of the engine's own functions: never the commands, with which a guest could send the rule keepers away.
const ADMIN: [(&[&str], &[&str]); 4] = [
    (&[], &[]),
    (&["engine::stats"], &[]),
    (&["engine::"], &["engine::drain", "engine::workers::kick"]),
    (&[], &[]),
];

/// What holds at first: guests may do everything but observe the secret.
pub fn at_first() -> Credentials {
    credentials(&mut Cursor::new(&[]))
}

/// What holds from now on, by five bytes of the input: which guests there are, then the rights of two of them.
pub fn credentials(cursor: &mut Cursor<'_>) -> Credentials {
    let gone = cursor.byte();
    let guests = rights(cursor);
    let mut narrow = rights(cursor);
    if gone & 0x80 == 0 {
        let (allow, deny) = RULES[1];
        narrow = narrow.with(Verb::Observe, rules(allow, deny));
    }
    let all = [
        principal("staff", "default", STAFF, None, Rights::everything()),
        principal("guest", "default", TOKENS[0], None, guests.clone()),
        principal("narrow", "default", TOKENS[1], None, narrow.clone()),
        principal("elsewhere", "two", TOKENS[2], None, guests),
        principal("local", "default", "unused", Some(LOCAL_UID), narrow),
    ];
    let is_left = |index: usize| index == 0 || gone & 1 << index == 0;
    let left = all.into_iter().enumerate();
    Credentials::new(
        left.filter(|(index, _)| is_left(*index))
            .map(|(_, it)| it)
            .collect(),
    )
}

fn principal(
    name: &str,
    namespace: &str,
    token: &str,
    uid: Option<u32>,
    rights: Rights,
) -> Principal {
    Principal {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        tokens: vec![TokenHash::of(token)],
        uids: uid.into_iter().collect(),
        weight: 1,
        // Some may not ask for the lowest.
        tier: u64::from(uid.is_some()),
        rights,
    }
}

fn rights(cursor: &mut Cursor<'_>) -> Rights {
    // Two bits for each verb.
    let mut choice = [0, 8]
        .map(|shift| u32::from(cursor.byte()) << shift)
        .iter()
        .sum::<u32>();
    let mut rights = Rights::nothing();
    for &verb in Verb::ALL {
        let table = if verb == Verb::Admin { &ADMIN } else { &RULES };
        let (allow, deny) = table[(choice & 3) as usize];
        rights = rights.with(verb, rules(allow, deny));
        choice >>= 2;
    }
    rights
}

fn rules(allow: &[&str], deny: &[&str]) -> Rules {
    Rules::new(allow.iter().copied(), deny.iter().copied())
}
