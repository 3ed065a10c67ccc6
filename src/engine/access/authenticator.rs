//! The authenticator: maps what a connection presents to a grant. Without credentials everybody gets every right but
//! that to command the engine. Applies nothing to connections.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use crate::engine::interface::Peer;
use crate::engine::refusal::Refusal;
use crate::engine::rng::HashKeys;
use crate::protocol::Code;

use super::credentials::{Credentials, Principal, TokenHash};
use super::grant::{AccessKey, Grant};
use super::rights::{Rights, Rules, Verb};

/// The engine's functions that need the right [`Verb::Admin`] for their name.
pub const GUARDED: &[&str] = &[STATS, KICK, DRAIN];
/// Reports the counters of all namespaces. Without credentials everybody may call it.
pub(crate) const STATS: &str = "engine::stats";
/// Closes the connections of workers.
pub(crate) const KICK: &str = "engine::workers::kick";
/// Stops the engine gracefully.
pub(crate) const DRAIN: &str = "engine::drain";

/// Decides which grant a connection gets.
#[derive(Debug)]
pub(crate) struct Authenticator {
    /// One grant for each key of each principal; `None` without credentials.
    grants: Option<Vec<Rc<Grant>>>,
    /// The same by key, to renew them.
    by_key: HashMap<AccessKey, Rc<Grant>, HashKeys>,
    anyone: Rc<Grant>,
    owner: Rc<Grant>,
    /// The user that runs the engine.
    owner_uid: Option<u32>,
    credentials: Credentials,
    /// Number of times the grants were replaced.
    replaced: u64,
}

impl Authenticator {
    /// An authenticator without credentials.
    pub(crate) fn open(keys: HashKeys) -> Self {
        let all = Rights::everything();
        let most = all.clone().with(Verb::Admin, Rules::new([STATS], []));
        Self {
            grants: None,
            by_key: HashMap::with_hasher(keys),
            anyone: Rc::new(Grant::new(AccessKey::Anyone, "", None, &most, 0)),
            owner: Rc::new(Grant::new(AccessKey::Owner, "", None, &all, 0)),
            owner_uid: None,
            credentials: Credentials::default(),
            replaced: 0,
        }
    }

    /// The edition of a principal's grants: that of its one `before`, if its rules to observe are unchanged.
    fn edition_of(&self, principal: &Principal, before: Option<&Rc<Grant>>) -> u64 {
        let before = before.filter(|grant| {
            grant.namespace.as_deref() == Some(&*principal.namespace)
                && grant.rights.of(Verb::Observe) == principal.rights.of(Verb::Observe)
        });
        before.map_or(self.replaced, |grant| grant.edition)
    }

    pub(crate) fn set_owner(&mut self, uid: u32) {
        self.owner_uid = Some(uid);
    }

    /// Replaces the credentials. Returns the differences, for people, if there were any before.
    pub(crate) fn replace(&mut self, credentials: &Credentials) -> Option<String> {
        self.replaced += 1;
        let before = std::mem::replace(&mut self.credentials, credentials.clone());
        let had_any = self.grants.is_some();
        let differences = had_any.then(|| credentials.differences(&before));
        let older = self.grants.take().unwrap_or_default();
        let by_principal: BTreeMap<&str, &Rc<Grant>> = older
            .iter()
            .map(|grant| (&*grant.principal, grant))
            .collect();
        let mut grants = Vec::new();
        for principal in credentials.principals() {
            let before = by_principal.get(&*principal.name).copied();
            let edition = self.edition_of(principal, before);
            let tokens = principal.tokens.iter().copied().map(AccessKey::Token);
            let users = principal.uids.iter().copied().map(AccessKey::User);
            grants.extend(tokens.chain(users).map(|key| {
                let (name, namespace) = (&principal.name, &principal.namespace);
                let rights = &principal.rights;
                let mut grant = Grant::new(key, name, Some(namespace), rights, edition);
                grant.weight = principal.weight;
                grant.tier = principal.tier;
                grant.issue = self.replaced;
                Rc::new(grant)
            }));
        }
        // Of several grants of one key the last one counts.
        self.by_key.clear();
        let keys = grants.iter().map(|grant| (grant.key, grant.clone()));
        self.by_key.extend(keys);
        self.grants = Some(grants);
        differences
    }

    /// The number of principals.
    pub(crate) fn principals(&self) -> usize {
        self.credentials.principals().len()
    }

    /// Whether a grant is of the present credentials.
    pub(crate) fn is_of_present(&self, grant: &Grant) -> bool {
        grant.issue == self.replaced
    }

    /// The grant for this token, or for this peer if it presents none.
    pub(crate) fn authenticate(
        &self,
        token: Option<&str>,
        peer: &Peer,
    ) -> Result<Rc<Grant>, Refusal> {
        let Some(grants) = &self.grants else {
            return Ok(match peer {
                Peer::Unix { uid: Some(uid), .. } if self.owns(*uid) => self.owner.clone(),
                _ => self.anyone.clone(),
            });
        };
        let found = match (token, peer) {
            // Compares with every token, so an unknown one takes as long as a known one.
            (Some(token), _) => {
                let presented = TokenHash::of(token);
                let mut found = None;
                for grant in grants {
                    if let AccessKey::Token(hash) = &grant.key
                        && hash.matches(&presented)
                    {
                        found = Some(grant);
                    }
                }
                found
            }
            (None, Peer::Unix { uid: Some(uid), .. }) => grants
                .iter()
                .rfind(|grant| grant.key == AccessKey::User(*uid)),
            (None, _) => None,
        };
        found.cloned().ok_or_else(|| {
            let message = match token {
                Some(_) => "this token is not known here",
                None => "a token is required",
            };
            Refusal::new(Code::Unauthorized, message)
        })
    }

    /// Whether this is the present grant of its key, as after a reload.
    #[cfg(debug_assertions)]
    pub(crate) fn is_present(&self, grant: &Rc<Grant>) -> bool {
        match &self.grants {
            None => [&self.anyone, &self.owner]
                .into_iter()
                .any(|it| Rc::ptr_eq(it, grant)),
            Some(_) => self.renew(grant).is_some_and(|it| Rc::ptr_eq(&it, grant)),
        }
    }

    /// The refusal of a call to a guarded function.
    pub(crate) fn refuse_command(&self, name: &str) -> Refusal {
        let needed = match &self.grants {
            Some(_) => "it takes the right `admin`",
            None => {
                "without credentials, it takes root or the user who runs the engine, over a Unix socket"
            }
        };
        let message = format!("no right to call `{name}`: {needed}");
        Refusal::new(Code::Forbidden, message)
    }

    /// The current grant for the key of an older one; `None` if the key no longer belongs to the same principal in the
    /// same namespace.
    pub(crate) fn renew(&self, older: &Grant) -> Option<Rc<Grant>> {
        let renewed = self.by_key.get(&older.key)?;
        renewed.is_same_principal(older).then(|| renewed.clone())
    }

    /// The different rules to observe a namespace, without those that allow everything.
    pub(crate) fn observe_rules(&self, namespace: &str) -> Vec<Rc<Rules>> {
        let (mut rules, mut known) = (Vec::new(), HashSet::with_hasher(*self.by_key.hasher()));
        for grant in self.grants.iter().flatten() {
            if grant.namespace.as_deref() == Some(namespace)
                && let Some(observe) = &grant.observe
                && known.insert(&**observe)
            {
                rules.push(observe.clone());
            }
        }
        rules
    }

    fn owns(&self, uid: u32) -> bool {
        uid == 0 && self.owner_uid.is_some() || self.owner_uid == Some(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rng::Rng;

    fn open() -> Authenticator {
        Authenticator::open(Rng::new([0; 32]).hash_keys())
    }

    fn principal(name: &str, token: &str, uid: u32) -> Principal {
        Principal {
            name: name.into(),
            namespace: "default".into(),
            tokens: vec![TokenHash::of(token)],
            uids: vec![uid],
            weight: 1,
            tier: 0,
            rights: Rights::everything(),
        }
    }

    fn unix(uid: u32) -> Peer {
        Peer::Unix {
            pid: Some(1),
            uid: Some(uid),
        }
    }

    fn tcp() -> Peer {
        Peer::Tcp("127.0.0.1:1".parse().unwrap())
    }

    fn name(admitted: Result<Rc<Grant>, Refusal>) -> Result<String, String> {
        admitted
            .map(|grant| grant.principal.to_string())
            .map_err(|refusal| format!("{}: {}", refusal.code, refusal.message))
    }

    #[test]
    fn a_token_or_a_user_of_this_host_opens_and_a_token_is_not_helped_by_the_user() {
        let mut authenticator = open();
        authenticator.replace(&Credentials::new(vec![
            principal("a", "token-a", 7),
            principal("b", "token-b", 8),
        ]));
        assert_eq!(
            name(authenticator.authenticate(Some("token-b"), &tcp())),
            Ok("b".into())
        );
        assert_eq!(
            name(authenticator.authenticate(None, &unix(7))),
            Ok("a".into())
        );
        assert_eq!(
            name(authenticator.authenticate(Some("token-b"), &unix(7))),
            Ok("b".into())
        );
        let refused = Err("unauthorized: this token is not known here".into());
        for wrong in ["", "token-", "token-a ", "token-c"] {
            assert_eq!(
                name(authenticator.authenticate(Some(wrong), &unix(7))),
                refused,
                "{wrong}"
            );
        }
        let refused = Err("unauthorized: a token is required".into());
        assert_eq!(name(authenticator.authenticate(None, &unix(9))), refused);
        assert_eq!(name(authenticator.authenticate(None, &tcp())), refused);
    }

    #[test]
    fn without_credentials_only_the_owner_commands() {
        let mut authenticator = open();
        let commands = |authenticator: &Authenticator, peer| {
            let grant = authenticator.authenticate(None, &peer).unwrap();
            grant.rights.allow(Verb::Admin, "engine::drain")
        };
        // The owner is not known yet.
        assert!(!commands(&authenticator, unix(0)));
        authenticator.set_owner(5);
        assert!(commands(&authenticator, unix(5)) && commands(&authenticator, unix(0)));
        assert!(!commands(&authenticator, unix(6)) && !commands(&authenticator, tcp()));
        let grant = authenticator.authenticate(None, &tcp()).unwrap();
        assert!(grant.rights.allow(Verb::Admin, STATS) && grant.may_observe("x"));
    }

    #[test]
    fn a_grant_is_renewed_while_its_key_is_the_same_principals() {
        let mut authenticator = open();
        authenticator.replace(&Credentials::new(vec![principal("a", "token", 7)]));
        let grant = authenticator.authenticate(Some("token"), &tcp()).unwrap();
        authenticator.replace(&Credentials::new(vec![principal("a", "token", 9)]));
        assert!(authenticator.renew(&grant).is_some());
        let mut elsewhere = principal("a", "token", 7);
        elsewhere.namespace = "other".into();
        for changed in [
            principal("a", "another", 7),
            principal("b", "token", 7),
            elsewhere,
        ] {
            authenticator.replace(&Credentials::new(vec![changed]));
            assert!(authenticator.renew(&grant).is_none());
        }
    }
}
