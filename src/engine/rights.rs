//! Rights: for each verb, which names a principal may use, as prefixes; what is denied stays denied whatever is
//! allowed. Knows names only, and nothing of who asks or of what there is: so the answer is the same whether
//! the thing exists or not.

use std::fmt;

/// What one may do with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Provide functions of these names.
    Register,
    /// Call functions of these names, or cast to them.
    Call,
    /// See functions and events of these names on the board: who provides them, what is bound to them.
    Observe,
    /// Emit events of these names.
    Emit,
    /// Tie functions of these names to events of these names.
    Bind,
    /// Call the engine's own functions of these names: those that command it, or tell of all boards.
    Admin,
}

impl Verb {
    /// Every verb.
    pub const ALL: &'static [Self] = &[
        Self::Register,
        Self::Call,
        Self::Observe,
        Self::Emit,
        Self::Bind,
        Self::Admin,
    ];

    /// As it stands in a credentials file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Call => "call",
            Self::Observe => "observe",
            Self::Emit => "emit",
            Self::Bind => "bind",
            Self::Admin => "admin",
        }
    }

    /// The verb of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|verb| verb.as_str() == word)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which names: those under an allowed prefix and under no denied one. In a normal form, so that two that say the
/// same in other words are equal (as far as prefixes go).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rules {
    allow: Box<[Box<str>]>,
    deny: Box<[Box<str>]>,
    /// The usual case, known at a glance.
    everything: bool,
}

impl Rules {
    /// No name at all.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Every name.
    #[must_use]
    pub fn everything() -> Self {
        Self::new([""], [])
    }

    /// Names under `allow` and not under `deny`.
    pub fn new<'a>(
        allow: impl IntoIterator<Item = &'a str>,
        deny: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let deny = shortest(deny);
        let allow = without(shortest(allow), &deny);
        let deny = beneath(&deny, &allow);
        Self {
            everything: matches!(&*allow, [only] if only.is_empty()) && deny.is_empty(),
            allow,
            deny,
        }
    }

    /// Whether `name` is among them. O(prefixes), and O(1) for everything.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.everything || is_under(name, &self.allow) && !is_under(name, &self.deny)
    }

    /// Whether every name is.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Allowed prefixes, sorted, none under another.
    #[must_use]
    pub fn allow(&self) -> &[Box<str>] {
        &self.allow
    }

    /// What is left out of those, sorted, none under another.
    #[must_use]
    pub fn deny(&self) -> &[Box<str>] {
        &self.deny
    }
}

/// The rules of all verbs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights([Rules; Verb::ALL.len()]);

impl Rights {
    /// No right at all: such a principal may connect, and nothing else.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Every right.
    #[must_use]
    pub fn everything() -> Self {
        Self(std::array::from_fn(|_| Rules::everything()))
    }

    /// The same with other rules for one verb.
    #[must_use]
    pub fn with(mut self, verb: Verb, rules: Rules) -> Self {
        self.0[verb as usize] = rules;
        self
    }

    /// The rules of a verb.
    #[must_use]
    pub fn of(&self, verb: Verb) -> &Rules {
        &self.0[verb as usize]
    }

    /// Whether `verb` is allowed for `name`.
    #[must_use]
    pub fn allow(&self, verb: Verb, name: &str) -> bool {
        self.of(verb).allows(name)
    }
}

/// Whether a name is under one of these prefixes.
pub(super) fn is_under(name: &str, prefixes: &[Box<str>]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(&**prefix))
}

/// Prefixes in their normal form: sorted, without any that a shorter one covers.
pub(super) fn shortest<'a>(prefixes: impl IntoIterator<Item = &'a str>) -> Box<[Box<str>]> {
    let mut sorted: Vec<&str> = prefixes.into_iter().collect();
    sorted.sort_unstable();
    let mut kept: Vec<Box<str>> = Vec::new();
    for prefix in sorted {
        // Sorted, all that a prefix covers comes right behind it.
        if !kept.last().is_some_and(|last| prefix.starts_with(&**last)) {
            kept.push(prefix.into());
        }
    }
    kept.into_boxed_slice()
}

/// What two lists of prefixes in normal form both cover, in normal form.
pub(super) fn common(one: &[Box<str>], other: &[Box<str>]) -> Box<[Box<str>]> {
    let mut all: Vec<&str> = Vec::new();
    for a in one {
        for b in other {
            if a.starts_with(&**b) {
                all.push(a);
            } else if b.starts_with(&**a) {
                all.push(b);
            }
        }
    }
    shortest(all)
}

/// Those prefixes of which `deny` leaves something.
pub(super) fn without(prefixes: Box<[Box<str>]>, deny: &[Box<str>]) -> Box<[Box<str>]> {
    let mut kept = prefixes.into_vec();
    kept.retain(|prefix| !is_under(prefix, deny));
    kept.into_boxed_slice()
}

/// Those of `deny` that take something out of `prefixes`.
pub(super) fn beneath(deny: &[Box<str>], prefixes: &[Box<str>]) -> Box<[Box<str>]> {
    let kept = deny.iter().filter(|denied| is_under(denied, prefixes));
    kept.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_nothing_is_allowed_that_is_not_named() {
        let rules = Rules::new(["orders::", "pay"], ["orders::secret", "pay::refund"]);
        for allowed in ["orders::create", "payments", "pay::charge", "orders::"] {
            assert!(rules.allows(allowed), "{allowed}");
        }
        for denied in [
            "orders::secret",
            "orders::secrets::x",
            "pay::refund",
            "order",
            "stock",
            "",
        ] {
            assert!(!rules.allows(denied), "{denied}");
        }
        assert!(!Rules::nothing().allows("a"));
        assert!(Rules::everything().allows("a"));
        assert!(!Rules::new(["a"], ["a"]).allows("a"));
        assert!(!Rules::new(["a::b"], ["a"]).allows("a::b"));
    }

    #[test]
    fn the_same_rules_in_other_words_are_equal() {
        let plain = Rules::new(["a::", "b::"], ["a::x"]);
        assert_eq!(
            plain,
            Rules::new(["b::", "a::", "a::y"], ["a::x", "a::xy", "c"])
        );
        assert_eq!(Rules::new(["a"], [""]), Rules::nothing());
        assert_eq!(Rules::new(["a", ""], []), Rules::everything());
        assert_ne!(plain, Rules::new(["a::", "b::"], []));
    }

    #[test]
    fn what_two_lists_cover_is_the_longer_of_each_pair() {
        let list = |prefixes: &[&'static str]| shortest(prefixes.iter().copied());
        assert_eq!(common(&list(&[""]), &list(&["a", "b"])), list(&["a", "b"]));
        assert_eq!(
            common(&list(&["a::b", "c"]), &list(&["a", "cd"])),
            list(&["a::b", "cd"])
        );
        assert_eq!(common(&list(&["a"]), &list(&["b"])), list(&[]));
    }

    #[test]
    fn verbs_are_known_by_their_words() {
        for &verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.as_str()), Some(verb));
        }
        assert_eq!(Verb::parse("Register"), None);
    }
}
