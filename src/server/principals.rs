//! Parses a credentials file (TOML) into principals. Each fault names its line, and the principal and key if there
//! are any. Text that may be a token is never repeated.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::engine::{
    Credentials, GUARDED, Principal, Rights, Rules, TokenHash, Verb, check_namespace,
};

/// The most principals in a file.
const PRINCIPALS_MAX: usize = 1000;
/// The most tokens of a principal: the current one and its replacement.
const TOKENS_MAX: usize = 2;
/// The most users of this host that map to one principal.
const UIDS_MAX: usize = 16;
/// The most prefixes in a list.
const PREFIXES_MAX: usize = 64;
/// The longest prefix in bytes: as long as a name.
const PREFIX_BYTES_MAX: usize = 255;
/// The longest name of a principal, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The namespace of a principal that names none.
const NAMESPACE: &str = "default";

/// A fault in a credentials file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsFault {
    /// The line, counted from 1.
    pub line: usize,
    /// The principal concerned.
    pub principal: Option<String>,
    /// The key concerned.
    pub key: Option<String>,
    /// The description of the fault.
    pub what: String,
}

impl fmt::Display for CredentialsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(principal) = &self.principal {
            write!(f, "principal `{}`: ", principal.escape_debug())?;
        }
        if let Some(key) = &self.key {
            write!(f, "`{}`: ", key.escape_debug())?;
        }
        f.write_str(&self.what)
    }
}

/// Parses the text of a credentials file.
pub(super) fn read(text: &str) -> Result<Credentials, Vec<CredentialsFault>> {
    let mut reader = Reader {
        text,
        faults: Vec::new(),
        principal: None,
        tokens: HashMap::new(),
        uids: HashMap::new(),
    };
    let principals = reader.file();
    if reader.faults.is_empty() {
        Ok(Credentials::new(principals))
    } else {
        reader.faults.sort_by_key(|fault| fault.line);
        Err(reader.faults)
    }
}

type Entry<'a, 'i> = (
    &'a Spanned<std::borrow::Cow<'i, str>>,
    &'a Spanned<DeValue<'i>>,
);

struct Reader<'t> {
    text: &'t str,
    faults: Vec<CredentialsFault>,
    /// The principal being read.
    principal: Option<String>,
    /// Owner of each token and of each user id.
    tokens: HashMap<TokenHash, String>,
    uids: HashMap<u32, String>,
}

impl Reader<'_> {
    fn file(&mut self) -> Vec<Principal> {
        let text = self.text;
        let file = match DeTable::parse(text) {
            Ok(file) => file.into_inner(),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                self.fault(&at, None, format!("invalid TOML: {}", error.message()));
                return Vec::new();
            }
        };
        let mut principals = Vec::new();
        for (key, value) in &file {
            let (name, at) = (key.get_ref(), key.span());
            match value.get_ref() {
                DeValue::Table(table) if name == "principals" => {
                    if table.len() > PRINCIPALS_MAX {
                        let what = format!("more than {PRINCIPALS_MAX} principals");
                        self.fault(&at, Some(name), what);
                    }
                    principals.extend(table.iter().filter_map(|entry| self.principal(entry)));
                }
                _ if name == "principals" => {
                    self.fault(&at, Some(name), "it must be a table: [principals.NAME]");
                }
                _ => {
                    let what = "unknown key; principals are written as [principals.NAME]";
                    self.fault(&at, Some(name), what);
                }
            }
        }
        principals
    }

    fn principal(&mut self, (key, value): Entry<'_, '_>) -> Option<Principal> {
        let (name, at) = (key.get_ref().to_string(), key.span());
        self.principal = Some(name.clone());
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if !is_name {
            let what =
                format!("a principal's name has 1 to {NAME_BYTES_MAX} visible ASCII characters");
            self.fault(&at, None, what);
        }
        let read = if let DeValue::Table(table) = value.get_ref() {
            Some(self.keys(name, table))
        } else {
            self.fault(&at, None, "it must be a table: [principals.NAME]");
            None
        };
        self.principal = None;
        read
    }

    fn keys(&mut self, name: String, table: &DeTable<'_>) -> Principal {
        let mut principal = Principal {
            name,
            namespace: NAMESPACE.to_owned(),
            tokens: Vec::new(),
            uids: Vec::new(),
            weight: 1,
            tier: 0,
            rights: Rights::nothing(),
        };
        let (mut allow, mut deny) = (Lists::default(), Lists::default());
        for (key, value) in table {
            let word = key.get_ref();
            match (&**word, Verb::parse(word)) {
                (_, Some(verb)) => allow.set(verb, self.prefixes(word, verb, value)),
                ("namespace", _) => principal.namespace = self.namespace(word, value),
                ("tokens", _) => principal.tokens = self.tokens(word, value),
                ("uids", _) => principal.uids = self.uids(word, value),
                ("weight", _) => principal.weight = self.weight(word, value),
                ("tier", _) => principal.tier = self.tier(word, value),
                ("deny", _) => self.deny(word, value, &mut deny),
                _ => {
                    let what = format!(
                        "unknown key; the keys are namespace, tokens, uids, weight, tier, {} and deny",
                        verbs()
                    );
                    self.fault(&key.span(), Some(word), what);
                }
            }
        }
        for &verb in Verb::ALL {
            let rules = Rules::new(allow.get(verb), deny.get(verb));
            principal.rights = principal.rights.with(verb, rules);
        }
        principal
    }

    fn deny(&mut self, word: &str, value: &Spanned<DeValue<'_>>, deny: &mut Lists) {
        let DeValue::Table(table) = value.get_ref() else {
            let what = "it must be a table: deny = { observe = [\"secret::\"] }";
            return self.fault(&value.span(), Some(word), what);
        };
        for (key, value) in table {
            let word = format!("deny.{}", key.get_ref());
            if let Some(verb) = Verb::parse(key.get_ref()) {
                deny.set(verb, self.prefixes(&word, verb, value));
            } else {
                let what = format!("unknown verb; the verbs are {}", verbs());
                self.fault(&key.span(), Some(&word), what);
            }
        }
    }

    fn namespace(&mut self, word: &str, value: &Spanned<DeValue<'_>>) -> String {
        let Some(text) = value.get_ref().as_str() else {
            self.fault(&value.span(), Some(word), "it must be a string");
            return String::new();
        };
        if let Err(error) = check_namespace(text) {
            self.fault(&value.span(), Some(word), error.to_string());
        }
        text.to_owned()
    }

    fn tokens(&mut self, word: &str, value: &Spanned<DeValue<'_>>) -> Vec<TokenHash> {
        let mut tokens = Vec::new();
        for (text, at) in self.texts(word, value) {
            let Some(hash) = TokenHash::parse(&text) else {
                // It may be a token itself: it must not be repeated.
                let what = "each must be `sha256:` and the 64 hexadecimal digits of a token's hash, as \
                    `callboard token new` prints it";
                self.fault(&at, Some(word), what);
                continue;
            };
            let owner = self.principal.clone().unwrap_or_default();
            if let Some(other) = self.tokens.insert(hash, owner) {
                let what = format!("duplicate token: it already belongs to `{other}`");
                self.fault(&at, Some(word), what);
            }
            tokens.push(hash);
        }
        if tokens.len() > TOKENS_MAX {
            let what = format!("at most {TOKENS_MAX}: the current token and its replacement");
            self.fault(&value.span(), Some(word), what);
        }
        tokens
    }

    fn weight(&mut self, word: &str, value: &Spanned<DeValue<'_>>) -> u32 {
        let weight = number(value).and_then(|it| u32::try_from(it).ok());
        let weight = weight.filter(|it| (1..=Principal::WEIGHT_MAX).contains(it));
        weight.unwrap_or_else(|| {
            let what = format!("it must be a number from 1 to {}", Principal::WEIGHT_MAX);
            self.fault(&value.span(), Some(word), what);
            1
        })
    }

    fn tier(&mut self, word: &str, value: &Spanned<DeValue<'_>>) -> u64 {
        number(value).unwrap_or_else(|| {
            let what =
                "it must be a number from 0 on: the lowest tier that its workers may ask for";
            self.fault(&value.span(), Some(word), what);
            0
        })
    }

    fn uids(&mut self, word: &str, value: &Spanned<DeValue<'_>>) -> Vec<u32> {
        const WHAT: &str = "it must be a list of user ids: [1000]";
        let DeValue::Array(array) = value.get_ref() else {
            self.fault(&value.span(), Some(word), WHAT);
            return Vec::new();
        };
        let mut uids = Vec::new();
        for item in array {
            let uid = number(item).and_then(|it| u32::try_from(it).ok());
            let Some(uid) = uid else {
                self.fault(&item.span(), Some(word), WHAT);
                continue;
            };
            let owner = self.principal.clone().unwrap_or_default();
            if let Some(other) = self.uids.insert(uid, owner) {
                let what = format!("duplicate user: {uid} already belongs to `{other}`");
                self.fault(&item.span(), Some(word), what);
            }
            uids.push(uid);
        }
        if uids.len() > UIDS_MAX {
            self.fault(
                &value.span(),
                Some(word),
                format!("at most {UIDS_MAX} users"),
            );
        }
        uids
    }

    fn prefixes(&mut self, word: &str, verb: Verb, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        let mut prefixes = Vec::new();
        for (prefix, at) in self.texts(word, value) {
            let is_prefix = prefix.len() <= PREFIX_BYTES_MAX
                && prefix.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
            let shown = prefix.escape_debug();
            if !is_prefix {
                let what = format!(
                    "`{shown}` is no valid prefix: names have up to {PREFIX_BYTES_MAX} visible ASCII characters"
                );
                self.fault(&at, Some(word), what);
            } else if prefix.contains('*') {
                let what =
                    format!("`{shown}`: prefixes are not patterns; [\"\"] matches everything");
                self.fault(&at, Some(word), what);
            } else if verb == Verb::Admin && !GUARDED.iter().any(|it| it.starts_with(&*prefix)) {
                let what = format!("`{shown}` is a prefix of none of {}", GUARDED.join(", "));
                self.fault(&at, Some(word), what);
            }
            prefixes.push(prefix);
        }
        if prefixes.len() > PREFIXES_MAX {
            let what = format!("at most {PREFIXES_MAX} prefixes");
            self.fault(&value.span(), Some(word), what);
        }
        prefixes
    }

    /// The strings of a list, each with its place.
    fn texts(&mut self, word: &str, value: &Spanned<DeValue<'_>>) -> Vec<(String, Range<usize>)> {
        const WHAT: &str = "it must be a list of strings: [\"one\", \"two\"]";
        let DeValue::Array(array) = value.get_ref() else {
            self.fault(&value.span(), Some(word), WHAT);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text.to_owned(), item.span())),
                None => self.fault(&item.span(), Some(word), WHAT),
            }
        }
        texts
    }

    fn fault(&mut self, at: &Range<usize>, key: Option<&str>, what: impl Into<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        self.faults.push(CredentialsFault {
            line: 1 + before.matches('\n').count(),
            principal: self.principal.clone(),
            key: key.map(str::to_owned),
            what: what.into(),
        });
    }
}

/// All verbs, for messages.
fn verbs() -> String {
    let verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
    verbs.join(", ")
}

/// A list of prefixes for each verb.
#[derive(Debug, Default)]
struct Lists([Vec<String>; Verb::ALL.len()]);

impl Lists {
    fn set(&mut self, verb: Verb, prefixes: Vec<String>) {
        self.0[verb as usize] = prefixes;
    }

    fn get(&self, verb: Verb) -> impl Iterator<Item = &str> {
        self.0[verb as usize].iter().map(String::as_str)
    }
}

/// A whole number from 0 on.
fn number(value: &Spanned<DeValue<'_>>) -> Option<u64> {
    let number = value.get_ref().as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn faults(text: &str) -> Vec<String> {
        let faults = read(text).expect_err(text);
        faults.iter().map(CredentialsFault::to_string).collect()
    }

    #[test]
    fn a_file_says_who_may_connect_and_what_each_may_do() {
        let text = format!(
            "# people\n[principals.orders]\nnamespace = \"shop\"\ntokens = [\"{HASH}\"]\nuids = [7, 0x10]\n\
             register = [\"orders::\"]\nobserve = [\"\"]\ndeny = {{ observe = [\"orders::secret\"] }}\n\n\
             [principals.\"a.b\"]\n"
        );
        let credentials = read(&text).unwrap();
        let [first, second] = credentials.principals() else {
            panic!("{credentials:?}")
        };
        // In the order of names.
        let (orders, plain) = (second, first);
        assert_eq!((&*orders.name, &*orders.namespace), ("orders", "shop"));
        assert_eq!(orders.tokens, [TokenHash::of("abc")]);
        assert_eq!(orders.uids, [7, 16]);
        assert!(orders.rights.allow(Verb::Register, "orders::create"));
        assert!(orders.rights.allow(Verb::Observe, "stock::x"));
        assert!(!orders.rights.allow(Verb::Observe, "orders::secret::x"));
        assert!(!orders.rights.allow(Verb::Call, "orders::create"));
        assert_eq!((&*plain.name, &*plain.namespace), ("a.b", "default"));
        assert_eq!(plain.rights, Rights::nothing());
        assert_eq!(read("").unwrap(), Credentials::default());
    }

    #[test]
    fn a_weight_is_a_number_from_1_to_1000() {
        let weight = |value: &str| {
            let read = read(&format!("[principals.x]\nweight = {value}"));
            read.ok().map(|it| it.principals()[0].weight)
        };
        let weights = ["1", "1000", "0", "1001", "-1", "1.5", "\"1\""].map(weight);
        assert_eq!(weights, [Some(1), Some(1000), None, None, None, None, None]);
        assert_eq!(read("[principals.x]").unwrap().principals()[0].weight, 1);
    }

    #[test]
    fn a_tier_is_a_number_from_0_on() {
        let tier = |value: &str| {
            let read = read(&format!("[principals.x]\ntier = {value}"));
            read.ok().map(|it| it.principals()[0].tier)
        };
        let tiers = ["0", "1", "9223372036854775807", "-1", "1.5", "\"1\""].map(tier);
        assert_eq!(
            tiers,
            [Some(0), Some(1), Some(i64::MAX as u64), None, None, None]
        );
        assert_eq!(read("[principals.x]").unwrap().principals()[0].tier, 0);
    }

    #[test]
    fn every_fault_names_its_line_its_principal_and_its_key() {
        for (text, told) in [
            ("a = 1", "line 1: `a`: unknown key"),
            (
                "\nprincipals = 1",
                "line 2: `principals`: it must be a table",
            ),
            (
                "[principals]\nx = 1",
                "line 2: principal `x`: it must be a table",
            ),
            (
                "[principals.x]\n\nregster = []",
                "line 3: principal `x`: `regster`: unknown key",
            ),
            (
                "[principals.x]\nregister = \"a\"",
                "line 2: principal `x`: `register`: it must be a list",
            ),
            (
                "[principals.x]\nregister = [\n\"a\",\n1]",
                "line 4: principal `x`: `register`: it must be",
            ),
            (
                "[principals.x]\ncall = [\"a b\"]",
                "line 2: principal `x`: `call`: `a b` is no valid prefix",
            ),
            (
                "[principals.x]\ncall = [\"a*\"]",
                "line 2: principal `x`: `call`: `a*`: prefixes are not patterns",
            ),
            (
                "[principals.x]\nadmin = [\"drain\"]",
                "`admin`: `drain` is a prefix of none of engine::stats",
            ),
            (
                "[principals.x]\nnamespace = \"a b\"",
                "line 2: principal `x`: `namespace`: ",
            ),
            (
                "[principals.x]\nnamespace = 1",
                "line 2: principal `x`: `namespace`: it must be a string",
            ),
            (
                "[principals.x]\ntokens = [\"cbt_1\"]",
                "line 2: principal `x`: `tokens`: each must be",
            ),
            (
                "[principals.x]\nuids = 1000",
                "line 2: principal `x`: `uids`: it must be a list of user ids",
            ),
            (
                "[principals.x]\nuids = [-1]",
                "line 2: principal `x`: `uids`: it must be a list of user ids",
            ),
            (
                "[principals.x]\ndeny = []",
                "line 2: principal `x`: `deny`: it must be a table",
            ),
            (
                "[principals.x.deny]\nsee = []",
                "line 2: principal `x`: `deny.see`: unknown verb",
            ),
            (
                "[principals.x]\ndeny.call = 1",
                "line 2: principal `x`: `deny.call`: it must be a list",
            ),
            (
                "[principals.\"a b\"]",
                "line 1: principal `a b`: a principal's name has",
            ),
            (
                "[principals.x]\ncall = [\"a\"\ncall",
                "line 3: invalid TOML: ",
            ),
        ] {
            let found = faults(text);
            assert!(
                found.iter().any(|it| it.contains(told)),
                "{text}\n{found:?}"
            );
        }
    }

    #[test]
    fn no_two_share_a_token_or_a_user() {
        let text = format!(
            "[principals.a]\ntokens = [\"{HASH}\"]\nuids = [5]\n[principals.b]\ntokens = [\"{HASH}\"]\nuids = [5]"
        );
        assert_eq!(
            faults(&text),
            [
                "line 5: principal `b`: `tokens`: duplicate token: it already belongs to `a`",
                "line 6: principal `b`: `uids`: duplicate user: 5 already belongs to `a`",
            ]
        );
    }

    #[test]
    fn what_a_file_may_hold_is_bounded() {
        let hash = |n: usize| format!("\"{}\"", TokenHash::of(&n.to_string()));
        let list = |n: usize, item: &dyn Fn(usize) -> String| {
            (0..n).map(item).collect::<Vec<_>>().join(",")
        };
        let tokens = |n| format!("[principals.x]\ntokens = [{}]", list(n, &hash));
        let uids = |n| format!("[principals.x]\nuids = [{}]", list(n, &|n| n.to_string()));
        let prefixes = |n| {
            format!(
                "[principals.x]\ncall = [{}]",
                list(n, &|n| format!("\"{n}\""))
            )
        };
        let principals = |n: usize| {
            let each: Vec<String> = (0..n).map(|n| format!("[principals.p{n}]\n")).collect();
            each.concat()
        };
        for (text, most) in [
            (&tokens as &dyn Fn(usize) -> String, TOKENS_MAX),
            (&uids, UIDS_MAX),
            (&prefixes, PREFIXES_MAX),
            (&principals, PRINCIPALS_MAX),
        ] {
            assert!(read(&text(most)).is_ok(), "{most}");
            let found = faults(&text(most + 1));
            assert!(found[0].contains(&most.to_string()), "{found:?}");
        }
    }

    #[test]
    fn a_token_in_the_place_of_its_hash_is_not_repeated() {
        let told = faults("[principals.x]\ntokens = [\"cbt_0123456789\"]").join("");
        assert!(!told.contains("0123456789"), "{told}");
    }
}
