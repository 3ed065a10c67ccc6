//! Rights where the engine has credentials: rules in the plainest way, and the credentials that say the
//! same to the engine. Enforces none.

use std::collections::BTreeMap;
use std::rc::Rc;

use callboard::engine::{Credentials, Principal, Rights, Rules, TokenHash, Verb};

use crate::rng::Rng;

/// Names under an allowed prefix and under no denied one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    allow: &'static [&'static str],
    deny: &'static [&'static str],
}

impl Names {
    const ALL: Self = Self::new(&[""], &[]);

    const fn new(allow: &'static [&'static str], deny: &'static [&'static str]) -> Self {
        Self { allow, deny }
    }

    pub(crate) fn has(self, name: &str) -> bool {
        let is_under = |list: &[&str]| list.iter().any(|prefix| name.starts_with(prefix));
        is_under(self.allow) && !is_under(self.deny)
    }

    pub(crate) fn has_all(self) -> bool {
        self == Self::ALL
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::ALL
    }
}

/// What the verbs are drawn from. Functions, events and bulk begin with different letters.
const CHOICES: [Names; 7] = [
    Names::ALL,
    Names::ALL,
    Names::new(&[""], &["a1", "e2"]),
    Names::new(&["a", "b", "e1"], &["b2"]),
    Names::new(&["", "c"], &["b", "x", "bulk"]),
    Names::new(&["c", "x", "e", "bulk"], &[]),
    Names::new(&[], &[""]),
];

/// What may be observed where names are long: parts of what a single worker provides, too.
const PARTS: [Names; 6] = [
    Names::ALL,
    Names::new(&[""], &["a1", "e2"]),
    Names::new(
        &[""],
        &[
            "b2",
            "bulk::w0::1",
            "bulk::w1::0",
            "bulk::w2::0",
            "bulk::w3::1",
            "bulk::w4::00",
        ],
    ),
    Names::new(
        &[
            "a",
            "b1",
            "e",
            "bulk::w0",
            "bulk::w1::00",
            "bulk::w2::1",
            "bulk::w3::0",
            "bulk::w5",
        ],
        &["bulk::w0::01", "bulk::w5::1"],
    ),
    Names::new(&["c", "x", "e", "bulk::w0::0", "bulk::w2"], &["e11"]),
    Names::new(&[""], &["bulk"]),
];

/// What one principal may do, by the place of the verb among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permit([Names; Verb::ALL.len()]);

impl Permit {
    /// What everybody has where there are no credentials, as far as anybody here asks for it.
    pub(crate) fn everything() -> Self {
        Self([Names::ALL; Verb::ALL.len()])
    }

    /// May everything and observe a part.
    pub(crate) fn draw_observer(rng: &mut Rng) -> Self {
        let mut permit = Self::everything();
        permit.0[Verb::Observe as usize] = rng.pick(&PARTS);
        permit
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self(
            Verb::ALL
                .iter()
                .map(|_| rng.pick(&CHOICES))
                .collect::<Vec<_>>()
                .try_into()
                .expect("as many"),
        )
    }

    pub(crate) fn may(&self, verb: Verb, name: &str) -> bool {
        self.of(verb).has(name)
    }

    /// Whether the other may do this with the same names.
    pub(crate) fn has_the_same(&self, verb: Verb, other: &Self) -> bool {
        self.of(verb) == other.of(verb)
    }

    /// What of the board it may see.
    pub(crate) fn visible(&self) -> Names {
        self.of(Verb::Observe)
    }

    fn of(&self, verb: Verb) -> Names {
        self.0[verb as usize]
    }

    fn rights(&self) -> Rights {
        let of = |rights: Rights, &verb: &Verb| {
            let names = self.of(verb);
            let rules = Rules::new(names.allow.iter().copied(), names.deny.iter().copied());
            rights.with(verb, rules)
        };
        Verb::ALL.iter().fold(Rights::nothing(), of)
    }
}

/// Namespaces that have principals.
pub(crate) const NAMESPACES: [&str; 3] = ["default", "second", "third"];

/// Principals of each namespace: one may everything, always; what the others may changes.
const RANKS: [&str; 3] = ["first", "other", "last"];

/// The principal of strangers: now there is one, now there is none.
pub(crate) const STRANGER: &str = "stranger@default";

/// All whom the engine lets in, by their tokens, which are their names.
#[derive(Debug, Clone)]
pub(crate) struct Principals {
    all: BTreeMap<String, Rc<Permit>>,
    /// The lowest tier that a principal may ask for, unless that is 0.
    tiers: BTreeMap<String, u64>,
    /// Some have more weight than others.
    pub differ: bool,
    /// Draws what those may whose rights change.
    permits: fn(&mut Rng) -> Permit,
}

impl Principals {
    pub(crate) fn draw(permits: fn(&mut Rng) -> Permit, rng: &mut Rng) -> Self {
        let mut principals = Self {
            all: BTreeMap::new(),
            tiers: BTreeMap::new(),
            differ: false,
            permits,
        };
        for namespace in NAMESPACES {
            for rank in RANKS {
                let permit = match rank {
                    "first" => Permit::everything(),
                    _ => permits(rng),
                };
                principals
                    .all
                    .insert(format!("{rank}@{namespace}"), permit.into());
            }
        }
        principals.redraw_stranger(rng);
        principals
    }

    fn redraw_stranger(&mut self, rng: &mut Rng) {
        self.all.remove(STRANGER);
        if !rng.one_in(3) {
            let permit = (self.permits)(rng);
            self.all.insert(STRANGER.to_owned(), permit.into());
        }
    }

    /// Some may something else from now on.
    pub(crate) fn redraw(&mut self, rng: &mut Rng) {
        self.let_in(rng);
        for (token, permit) in &mut self.all {
            if !token.starts_with("first") && rng.one_in(3) {
                *permit = (self.permits)(rng).into();
            }
            if !token.starts_with("first") && rng.one_in(4) {
                self.tiers.insert(token.clone(), rng.between(1..3));
            }
        }
        if rng.one_in(3) {
            self.redraw_stranger(rng);
        }
    }

    /// One of them is not let in any more.
    pub(crate) fn turn_out(&mut self, rng: &mut Rng) {
        let last = format!("last@{}", NAMESPACES[0]);
        self.all
            .remove(if rng.one_in(2) { STRANGER } else { &last });
    }

    /// All are let in again but strangers, and may ask for any tier.
    pub(crate) fn let_in(&mut self, rng: &mut Rng) {
        for rank in RANKS {
            let token = format!("{rank}@{}", NAMESPACES[0]);
            let known = self.all.entry(token);
            known.or_insert_with(|| (self.permits)(rng).into());
        }
        self.allow_all_tiers();
    }

    /// All may ask for any tier. Says whether any might not.
    pub(crate) fn allow_all_tiers(&mut self) -> bool {
        let had_any = !self.tiers.is_empty();
        self.tiers.clear();
        had_any
    }

    /// The token of a principal in this namespace.
    pub(crate) fn token(namespace: &str, rng: &mut Rng) -> String {
        format!("{}@{namespace}", rng.pick(&RANKS))
    }

    /// What a token opens.
    pub(crate) fn permit(&self, token: &str) -> Option<&Rc<Permit>> {
        self.all.get(token)
    }

    /// The lowest tier that the workers of a principal may ask for.
    pub(crate) fn lowest_tier(&self, token: &str) -> u64 {
        self.tiers.get(token).copied().unwrap_or(0)
    }

    /// The weight of a principal, or of a user that is none.
    pub(crate) fn weight(&self, token: &str) -> u32 {
        match token.split_once('@') {
            Some(("first", _)) if self.differ => 3,
            Some(("other", _)) if self.differ => 2,
            _ => 1,
        }
    }

    /// As the engine is told.
    pub(crate) fn credentials(&self) -> Credentials {
        let principal = |(token, permit): (&String, &Rc<Permit>)| Principal {
            name: token.clone(),
            namespace: namespace_of(token).to_owned(),
            tokens: vec![TokenHash::of(token)],
            uids: Vec::new(),
            weight: self.weight(token),
            tier: self.lowest_tier(token),
            rights: permit.rights(),
        };
        Credentials::new(self.all.iter().map(principal).collect())
    }
}

/// The only namespace of a token's principal.
pub(crate) fn namespace_of(token: &str) -> &str {
    token.split_once('@').map_or("", |(_, namespace)| namespace)
}
