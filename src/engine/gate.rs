//! The gate: which rights a connection gets for what it presents. Without credentials everybody gets all but the
//! command of the engine. Lets in; what somebody who is in may do is asked elsewhere, of his grant.

use std::rc::Rc;

use log::warn;

use super::credentials::{Credentials, Principal, TokenHash};
use super::refusal::Refusal;
use super::rights::{Rights, Rules, Verb};
use super::{ConnId, Engine, Peer, Time};
use crate::protocol::{Code, Hello};

/// The function that tells of all boards. Everybody may ask it where there are no credentials.
pub(super) const STATS: &str = "engine::stats";

/// By what somebody was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// By nothing: there are no credentials.
    Anyone,
    /// As the user who runs the engine, or root; there are no credentials.
    Owner,
    Token(TokenHash),
    User(u32),
}

/// What one key of one principal opens. Shared by all connections that presented it.
#[derive(Debug)]
pub(super) struct Grant {
    key: Key,
    pub(super) principal: Box<str>,
    /// The only namespace, unless there are no credentials.
    pub(super) namespace: Option<Box<str>>,
    pub(super) rights: Rights,
    /// The rules for observing, unless that is everything.
    pub(super) observe: Option<Rc<Rules>>,
    /// Another number each time that these rules were others before.
    pub(super) edition: u64,
}

impl Grant {
    fn new(key: Key, principal: &str, namespace: Option<&str>, rights: &Rights) -> Self {
        let observe = rights.of(Verb::Observe);
        Self {
            key,
            principal: principal.into(),
            namespace: namespace.map(Into::into),
            rights: rights.clone(),
            observe: (!observe.is_everything()).then(|| Rc::new(observe.clone())),
            edition: 0,
        }
    }

    /// Whether `name` may be seen.
    pub(super) fn shows(&self, name: &str) -> bool {
        self.observe.as_ref().is_none_or(|rules| rules.allows(name))
    }

    /// Whether a connection of the one may go on as one of the other, if its rights are brought in line.
    pub(super) fn is_same_principal(&self, other: &Self) -> bool {
        self.principal == other.principal && self.namespace == other.namespace
    }
}

/// See the top of this file.
#[derive(Debug)]
pub(super) struct Gate {
    /// For each key of each principal; none: there are no credentials.
    grants: Option<Vec<Rc<Grant>>>,
    anyone: Rc<Grant>,
    owner: Rc<Grant>,
    /// The user who runs the engine.
    owner_uid: Option<u32>,
    /// How often the grants were replaced.
    replaced: u64,
}

impl Gate {
    /// One without credentials.
    pub(super) fn open() -> Self {
        let all = Rights::everything();
        let most = all.clone().with(Verb::Admin, Rules::new([STATS], []));
        Self {
            grants: None,
            anyone: Rc::new(Grant::new(Key::Anyone, "", None, &most)),
            owner: Rc::new(Grant::new(Key::Owner, "", None, &all)),
            owner_uid: None,
            replaced: 0,
        }
    }

    /// That of before, if it may observe what it might before.
    fn edition_of(&self, principal: &Principal) -> u64 {
        let mut grants = self.grants.iter().flatten();
        let before = grants.find(|grant| {
            *grant.principal == *principal.name
                && grant.namespace.as_deref() == Some(&*principal.namespace)
                && grant.rights.of(Verb::Observe) == principal.rights.of(Verb::Observe)
        });
        before.map_or(self.replaced, |grant| grant.edition)
    }

    pub(super) fn set_owner(&mut self, uid: u32) {
        self.owner_uid = Some(uid);
    }

    /// From now on, these hold.
    pub(super) fn replace(&mut self, credentials: &Credentials) {
        self.replaced += 1;
        let mut grants = Vec::new();
        for principal in credentials.principals() {
            let edition = self.edition_of(principal);
            let tokens = principal.tokens.iter().copied().map(Key::Token);
            let users = principal.uids.iter().copied().map(Key::User);
            grants.extend(tokens.chain(users).map(|key| {
                let (name, namespace) = (&principal.name, &principal.namespace);
                let grant = Grant::new(key, name, Some(namespace), &principal.rights);
                Rc::new(Grant { edition, ..grant })
            }));
        }
        self.grants = Some(grants);
    }

    /// What somebody gets who presents this token, or none, from there.
    pub(super) fn admit(&self, token: Option<&str>, peer: &Peer) -> Result<Rc<Grant>, Refusal> {
        let Some(grants) = &self.grants else {
            return Ok(match peer {
                Peer::Unix { uid: Some(uid), .. } if self.owns(*uid) => self.owner.clone(),
                _ => self.anyone.clone(),
            });
        };
        let found = match (token, peer) {
            // Takes as long for a token that nobody has as for one that somebody has.
            (Some(token), _) => {
                let presented = TokenHash::of(token);
                let mut found = None;
                for grant in grants {
                    if let Key::Token(hash) = &grant.key
                        && hash.matches(&presented)
                    {
                        found = Some(grant);
                    }
                }
                found
            }
            (None, Peer::Unix { uid: Some(uid), .. }) => {
                grants.iter().rfind(|grant| grant.key == Key::User(*uid))
            }
            (None, _) => None,
        };
        found.cloned().ok_or_else(|| {
            let message = match token {
                Some(_) => "this token opens nothing here",
                None => "a token is needed here",
            };
            Refusal::new(Code::Unauthorized, message)
        })
    }

    /// Why somebody may not call this function of the engine's own, which takes the right for it.
    pub(super) fn refuse_command(&self, name: &str) -> Refusal {
        let needed = match &self.grants {
            Some(_) => "it takes the right `admin`",
            None => {
                "without credentials, it takes root or the user who runs the engine, over a Unix socket"
            }
        };
        let message = format!("no right to call `{name}`: {needed}");
        Refusal::new(Code::Forbidden, message)
    }

    /// What the key of an older grant opens now; none, if it is no longer the same principal's in the same
    /// namespace.
    pub(super) fn renew(&self, older: &Grant) -> Option<Rc<Grant>> {
        let grants = self.grants.as_ref()?;
        let renewed = grants.iter().rfind(|grant| grant.key == older.key)?;
        renewed.is_same_principal(older).then(|| renewed.clone())
    }

    /// The different rules by which what is in a namespace is observed, everything not among them.
    pub(super) fn onlookers(&self, namespace: &str) -> Vec<Rc<Rules>> {
        let mut rules: Vec<Rc<Rules>> = Vec::new();
        for grant in self.grants.iter().flatten() {
            if grant.namespace.as_deref() == Some(namespace)
                && let Some(observe) = &grant.observe
                && !rules.contains(observe)
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

impl Engine {
    /// What somebody gets who says HELLO. Whoever gets nothing is counted, and logged with its address.
    pub(super) fn admit(
        &mut self,
        id: ConnId,
        hello: &Hello<'_>,
        now: Time,
    ) -> Result<Rc<Grant>, Refusal> {
        let peer = self.get(id).expect("it said HELLO just now").peer;
        let token = hello.ext.token.as_ref().map(|token| token.0);
        let admitted = self.gate.admit(token, &peer).and_then(|grant| {
            let asked = hello.namespace.0;
            match &grant.namespace {
                Some(own) if !asked.is_empty() && **own != *asked => {
                    let message = format!("`{}` is not in this namespace", grant.principal);
                    Err(Refusal::new(Code::Unauthorized, message))
                }
                _ => Ok(grant),
            }
        });
        if let Err(refusal) = &admitted {
            self.stats.failed_logins += 1;
            if self.may_log(now) {
                warn!("{peer}: not let in: {}", refusal.message);
            }
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(name: &str, token: &str, uid: u32) -> Principal {
        Principal {
            name: name.into(),
            namespace: "default".into(),
            tokens: vec![TokenHash::of(token)],
            uids: vec![uid],
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
        let mut gate = Gate::open();
        gate.replace(&Credentials::new(vec![
            principal("a", "token-a", 7),
            principal("b", "token-b", 8),
        ]));
        assert_eq!(name(gate.admit(Some("token-b"), &tcp())), Ok("b".into()));
        assert_eq!(name(gate.admit(None, &unix(7))), Ok("a".into()));
        assert_eq!(name(gate.admit(Some("token-b"), &unix(7))), Ok("b".into()));
        let refused = Err("unauthorized: this token opens nothing here".into());
        for wrong in ["", "token-", "token-a ", "token-c"] {
            assert_eq!(name(gate.admit(Some(wrong), &unix(7))), refused, "{wrong}");
        }
        let refused = Err("unauthorized: a token is needed here".into());
        assert_eq!(name(gate.admit(None, &unix(9))), refused);
        assert_eq!(name(gate.admit(None, &tcp())), refused);
    }

    #[test]
    fn without_credentials_only_the_owner_commands() {
        let mut gate = Gate::open();
        let commands = |gate: &Gate, peer| {
            let grant = gate.admit(None, &peer).unwrap();
            grant.rights.allow(Verb::Admin, "engine::drain")
        };
        // Nobody has said who that is.
        assert!(!commands(&gate, unix(0)));
        gate.set_owner(5);
        assert!(commands(&gate, unix(5)) && commands(&gate, unix(0)));
        assert!(!commands(&gate, unix(6)) && !commands(&gate, tcp()));
        let grant = gate.admit(None, &tcp()).unwrap();
        assert!(grant.rights.allow(Verb::Admin, STATS) && grant.shows("x"));
    }

    #[test]
    fn a_grant_is_renewed_while_its_key_is_the_same_principals() {
        let mut gate = Gate::open();
        gate.replace(&Credentials::new(vec![principal("a", "token", 7)]));
        let grant = gate.admit(Some("token"), &tcp()).unwrap();
        gate.replace(&Credentials::new(vec![principal("a", "token", 9)]));
        assert!(gate.renew(&grant).is_some());
        let mut elsewhere = principal("a", "token", 7);
        elsewhere.namespace = "other".into();
        for changed in [
            principal("a", "another", 7),
            principal("b", "token", 7),
            elsewhere,
        ] {
            gate.replace(&Credentials::new(vec![changed]));
            assert!(gate.renew(&grant).is_none());
        }
    }
}
