//! Rights: for each verb, the names that a principal may use, as prefixes. A denied prefix overrides an allowed one.
//! Knows names only, neither the asker nor the board, so an answer is the same whether the named thing exists or not.

use std::fmt;

use crate::engine::prefix_set::PrefixSet;

/// An action that a right allows for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Provide functions of these names.
    Register,
    /// Call functions of these names, or cast to them.
    Call,
    /// See functions and events of these names on the board, with their providers and bindings.
    Observe,
    /// Emit events of these names.
    Emit,
    /// Bind functions of these names to events of these names.
    Bind,
    /// Call the engine's guarded functions of these names: those that command it or report on all namespaces.
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

    /// The word in a credentials file.
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

/// The names that one verb is allowed for: those under an allowed prefix and under no denied one. Kept in a normal
/// form, so equal rules compare equal (as far as prefixes go).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rules {
    allow: PrefixSet,
    deny: PrefixSet,
    /// The usual case, decided without a look at the prefixes.
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
        let deny = PrefixSet::new(deny);
        let allow = PrefixSet::new(allow).without(&deny);
        let deny = deny.beneath(&allow);
        Self {
            everything: allow.is_everything() && deny.is_empty(),
            allow,
            deny,
        }
    }

    /// Whether `name` is allowed. O(prefixes), and O(1) if everything is.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.everything || self.allow.matches(name) && !self.deny.matches(name)
    }

    /// Whether every name is allowed.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// The allowed prefixes, sorted, none under another.
    #[must_use]
    pub fn allow(&self) -> &[Box<str>] {
        self.allow.as_slice()
    }

    /// The denied prefixes beneath those, sorted, none under another.
    #[must_use]
    pub fn deny(&self) -> &[Box<str>] {
        self.deny.as_slice()
    }

    pub(crate) fn allowed(&self) -> &PrefixSet {
        &self.allow
    }

    pub(crate) fn denied(&self) -> &PrefixSet {
        &self.deny
    }
}

/// The rights of a principal: the rules of each verb.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights([Rules; Verb::ALL.len()]);

impl Rights {
    /// No right at all: the principal may connect, and nothing else.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Every right.
    #[must_use]
    pub fn everything() -> Self {
        Self(std::array::from_fn(|_| Rules::everything()))
    }

    /// These rights with other rules for one verb.
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
    fn verbs_are_known_by_their_words() {
        for &verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.as_str()), Some(verb));
        }
        assert_eq!(Verb::parse("Register"), None);
    }
}
