//! A reader of the protocol, written from its specification and not from the library: it builds a view,
//! takes down calls and their endings, and panics over everything that the specification rules out.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use callboard::protocol::{Definition, Executed, Failure, Inbox, Invoke, Message, Sections};

/// Name to a digest of everything else the entry says.
pub(crate) type Functions = BTreeMap<String, u64>;
/// Id to name and functions.
pub(crate) type Workers = BTreeMap<u64, (String, BTreeSet<String>)>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub functions: Functions,
    pub workers: Workers,
    /// Of the workers that have any.
    pub metadata: BTreeMap<u64, Vec<u8>>,
}

/// What a reader watches: prefixes per section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchFilter {
    pub functions: Vec<String>,
    pub workers: Vec<String>,
}

impl WatchFilter {
    pub(crate) fn new(functions: &[&str], workers: &[&str]) -> Self {
        let own = |list: &[&str]| list.iter().map(|&prefix| prefix.to_owned()).collect();
        Self {
            functions: own(functions),
            workers: own(workers),
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.functions.is_empty() && self.workers.is_empty()
    }

    pub(crate) fn project(&self, view: &View) -> View {
        let matches = |list: &[String], name: &str| list.iter().any(|p| name.starts_with(p));
        let functions = view
            .functions
            .iter()
            .filter(|(name, _)| matches(&self.functions, name));
        let workers = view
            .workers
            .iter()
            .filter(|(_, (name, _))| matches(&self.workers, name));
        let workers: Workers = workers.map(|(id, it)| (*id, it.clone())).collect();
        let metadata = view.metadata.iter();
        let metadata = metadata.filter(|(id, _)| workers.contains_key(id));
        View {
            functions: functions
                .map(|(name, rest)| (name.clone(), *rest))
                .collect(),
            metadata: metadata.map(|(id, it)| (*id, it.clone())).collect(),
            workers,
        }
    }
}

/// What the reader has been told by WELCOME.
#[derive(Debug, Clone, Default)]
pub(crate) struct Welcome {
    pub worker: u64,
    pub epoch: u64,
    pub revision: u64,
    pub session: Vec<u8>,
    pub digest: Vec<u8>,
    pub resumed: bool,
    pub taken_over: bool,
    pub settling_ms: u64,
}

/// The end of a request: its revision, or its error code and message.
pub(crate) type Ending = Result<u64, (String, String)>;

/// How a call ended for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallEnding {
    Result(Vec<u8>),
    Failure(CallFailure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallFailure {
    pub code: String,
    pub message: String,
    pub executed: Executed,
    pub retryable: bool,
    pub from_function: bool,
    pub details: Vec<u8>,
}

/// What a provider was asked to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub id: u64,
    pub function: String,
    pub timeout_ms: u64,
    pub payload: Vec<u8>,
    pub caller: u64,
    pub caller_name: String,
    pub headers: Vec<u8>,
    /// The revision at which the view stood when it came.
    pub at: u64,
}

/// What came for this connection alone, in the order in which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Invoke(Invocation),
    /// The answer to this INVOKE is of no use any more.
    Cancel(u64),
    /// The call of this id ended.
    CallEnded(u64, CallEnding),
    /// The registry's request of this id ended.
    Ended(u64),
}

#[derive(Debug)]
pub(crate) struct Reader {
    pub filter: WatchFilter,
    pub welcome: Option<Welcome>,
    pub view: View,
    /// Between RESYNC (or a resume) and SYNCED.
    pub syncing: bool,
    staging: Option<View>,
    parts: Vec<Parts>,
    pub mine: u64,
    pub endings: BTreeMap<u64, Ending>,
    /// Ids of requests that are calls.
    pub calls: BTreeSet<u64>,
    pub call_endings: BTreeMap<u64, CallEnding>,
    pub events: Vec<Event>,
    /// Functions that casts came for, in order.
    pub casts: Vec<String>,
    pub goodbye: Option<(String, String, Option<u64>)>,
    pub drain: Option<u64>,
    /// How often it was told that its rights have changed.
    pub rights: u64,
    pub resyncs: Vec<String>,
    pub snapshot_frames: u64,
    pub change_frames: u64,
    pub pings: u64,
    pub pongs: u64,
    pub unsupported: u64,
    /// (from, to) of each change that was applied.
    pub steps: Vec<(u64, u64)>,
    inbox: Inbox,
}

/// A part of a change, by value.
#[derive(Debug)]
struct Parts {
    from: u64,
    to: u64,
    frame: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(filter: WatchFilter) -> Self {
        Self {
            filter,
            welcome: None,
            view: View::default(),
            syncing: false,
            staging: None,
            parts: Vec::new(),
            mine: 0,
            endings: BTreeMap::new(),
            calls: BTreeSet::new(),
            call_endings: BTreeMap::new(),
            events: Vec::new(),
            casts: Vec::new(),
            goodbye: None,
            drain: None,
            rights: 0,
            resyncs: Vec::new(),
            snapshot_frames: 0,
            change_frames: 0,
            pings: 0,
            pongs: 0,
            unsupported: 0,
            steps: Vec::new(),
            inbox: Inbox::default(),
        }
    }

    /// Ready for another connection, with the view of this one.
    pub(crate) fn reconnected(self) -> Self {
        Self {
            view: self.view,
            mine: self.mine,
            ..Self::new(self.filter)
        }
    }

    /// Whether the view is complete.
    pub(crate) fn is_synced(&self) -> bool {
        self.welcome.is_some() && !self.syncing
    }

    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        let mut inbox = std::mem::take(&mut self.inbox);
        while let Some(frame) = inbox
            .next(&mut bytes, 1 << 21)
            .expect("a frame of the engine")
        {
            assert!(self.goodbye.is_none(), "a frame came after GOODBYE");
            let frame = frame.to_vec();
            let message = Message::decode(&frame).expect("a message of the engine");
            self.take(message, &frame);
        }
        self.inbox = inbox;
    }

    #[allow(clippy::too_many_lines)] // One arm for each kind, most of them a line.
    fn take(&mut self, message: Message<'_>, frame: &[u8]) {
        if self.welcome.is_none() {
            assert!(
                matches!(message, Message::Welcome(_) | Message::Goodbye(_)),
                "{message:?}"
            );
        }
        match message {
            Message::Welcome(it) => {
                assert!(self.welcome.is_none(), "a second WELCOME");
                self.syncing = !self.filter.is_nothing();
                self.welcome = Some(Welcome {
                    worker: it.worker,
                    epoch: it.epoch,
                    revision: it.revision,
                    session: it.session.to_vec(),
                    digest: it.digest.to_vec(),
                    resumed: it.ext.resumed,
                    taken_over: it.ext.taken_over,
                    settling_ms: it.ext.settling_ms,
                });
            }
            Message::Goodbye(it) => {
                let retry = it.ext.retry_after_ms;
                self.goodbye = Some((it.code.to_string(), it.message.to_string(), retry));
            }
            Message::Drain(it) => self.drain = it.ext.retry_after_ms,
            Message::Rights(_) => {
                self.rights += 1;
                self.not_early();
            }
            Message::Ping(it) => {
                self.pings += 1;
                self.bookmark(it.revision);
            }
            Message::Pong(it) => {
                self.pongs += 1;
                self.bookmark(it.revision);
            }
            Message::Resync(it) => {
                assert!(
                    !self.filter.is_nothing(),
                    "a snapshot for one who watches nothing"
                );
                self.resyncs.push(it.reason.to_string());
                self.staging = Some(View::default());
                self.parts.clear();
                self.syncing = true;
                self.mine = it.revision;
            }
            Message::Snapshot(it) => {
                self.snapshot_frames += 1;
                let staging = self
                    .staging
                    .as_mut()
                    .expect("SNAPSHOT outside of a snapshot");
                apply(staging, &it.sections, &self.filter, false);
            }
            Message::Changes(it) => {
                self.change_frames += 1;
                assert!(it.from < it.to, "an empty step: {it:?}");
                assert!(
                    it.from <= self.mine,
                    "a gap: from {} but mine is {}",
                    it.from,
                    self.mine
                );
                assert!(
                    it.to > self.mine,
                    "a change twice: to {}, mine is {}",
                    it.to,
                    self.mine
                );
                if let Some(first) = self.parts.first() {
                    assert_eq!(
                        (first.from, first.to),
                        (it.from, it.to),
                        "parts of different steps"
                    );
                }
                self.parts.push(Parts {
                    from: it.from,
                    to: it.to,
                    frame: frame.to_vec(),
                });
                if !it.more {
                    self.apply_parts();
                }
            }
            Message::Synced(it) => {
                assert!(self.syncing, "SYNCED twice");
                assert!(self.parts.is_empty(), "SYNCED within a change");
                assert!(it.revision >= self.mine);
                let welcomed = self.welcome.as_ref().map(|it| it.revision);
                assert!(
                    Some(it.revision) >= welcomed,
                    "SYNCED is older than WELCOME"
                );
                if let Some(staging) = self.staging.take() {
                    self.view = staging;
                }
                self.mine = it.revision;
                self.syncing = false;
            }
            Message::Invoke(it) => self.invoke(&it),
            Message::Cast(it) => {
                self.not_early();
                self.casts.push(it.function.0.to_owned());
            }
            Message::Cancel(it) => {
                self.not_early();
                let is_known = self.invocations().any(|invoke| invoke.id == it.id);
                assert!(is_known, "CANCEL of what was never invoked");
                let event = Event::Cancel(it.id);
                assert!(!self.events.contains(&event), "a second CANCEL");
                self.events.push(event);
            }
            Message::Outcome(it) if self.calls.contains(&it.id) => {
                self.end_call(it.id, CallEnding::Result(it.payload.to_vec()));
            }
            Message::Failure(it) if self.calls.contains(&it.id) => {
                self.end_call(it.id, CallEnding::Failure(failure(&it)));
            }
            Message::Outcome(it) => {
                let revision = it.ext.revision.expect("a registry's RESULT has a revision");
                self.not_early();
                self.events.push(Event::Ended(it.id));
                let before = self.endings.insert(it.id, Ok(revision));
                assert!(before.is_none(), "request {} ended twice", it.id);
            }
            Message::Failure(it) => {
                self.unsupported += u64::from(it.code.0 == "unsupported");
                let error = (it.code.to_string(), it.message.to_string());
                self.events.push(Event::Ended(it.id));
                let before = self.endings.insert(it.id, Err(error));
                assert!(before.is_none(), "request {} ended twice", it.id);
            }
            other => panic!("not the engine's to send: {other:?}"),
        }
    }

    /// The INVOKEs that came.
    pub(crate) fn invocations(&self) -> impl Iterator<Item = &Invocation> {
        self.events.iter().filter_map(|event| match event {
            Event::Invoke(invocation) => Some(invocation),
            _ => None,
        })
    }

    /// The ids of INVOKEs that were cancelled.
    pub(crate) fn cancels(&self) -> Vec<u64> {
        let cancel = |event: &Event| match event {
            Event::Cancel(id) => Some(*id),
            _ => None,
        };
        self.events.iter().filter_map(cancel).collect()
    }

    fn invoke(&mut self, it: &Invoke<'_>) {
        self.not_early();
        assert!(
            self.invocations().all(|invoke| invoke.id != it.id),
            "an INVOKE's id twice"
        );
        self.events.push(Event::Invoke(Invocation {
            id: it.id,
            function: it.function.to_string(),
            timeout_ms: it.timeout_ms,
            payload: it.payload.to_vec(),
            caller: it.ext.caller,
            caller_name: it.ext.caller_name.to_string(),
            headers: it.ext.headers.to_vec(),
            at: self.mine,
        }));
    }

    fn end_call(&mut self, id: u64, ending: CallEnding) {
        self.not_early();
        self.events.push(Event::CallEnded(id, ending.clone()));
        let before = self.call_endings.insert(id, ending);
        assert!(before.is_none(), "call {id} ended twice");
    }

    /// What belongs to this connection alone came behind the changes before it.
    fn not_early(&self) {
        if !self.filter.is_nothing() {
            assert!(!self.syncing, "a reply overtook the snapshot");
            assert!(self.parts.is_empty(), "a reply came within a change");
        }
    }

    fn bookmark(&mut self, revision: u64) {
        if !self.syncing && revision > self.mine {
            assert!(
                self.parts.is_empty(),
                "a bookmark beyond a change that is not complete"
            );
            self.mine = revision;
        }
    }

    fn apply_parts(&mut self) {
        let strict = self.staging.is_none();
        let view = self.staging.as_mut().unwrap_or(&mut self.view);
        let parts = std::mem::take(&mut self.parts);
        self.mine = parts[0].to;
        self.steps.push((parts[0].from, parts[0].to));
        for part in &parts {
            let Ok(Message::Changes(it)) = Message::decode(&part.frame) else {
                unreachable!()
            };
            apply(view, &it.sections, &self.filter, strict);
        }
        let hollow = view
            .workers
            .values()
            .find(|(_, functions)| functions.is_empty());
        assert!(
            hollow.is_none() || !strict,
            "a worker without functions is listed"
        );
    }
}

fn failure(it: &Failure<'_>) -> CallFailure {
    CallFailure {
        code: it.code.to_string(),
        message: it.message.to_string(),
        executed: it.executed,
        retryable: it.retryable,
        from_function: it.ext.from_function,
        details: it.ext.details.to_vec(),
    }
}

/// Stands for all that a definition says beside its name.
pub(crate) fn digest(it: &Definition<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let opaque = (&*it.request, &*it.response, &*it.metadata);
    (it.description.0, opaque, it.exclusive).hash(&mut hasher);
    hasher.finish()
}

/// Applies sections to a view. `strict`: removed or updated entries must be there, added ones must not.
fn apply(view: &mut View, sections: &Sections<'_>, filter: &WatchFilter, strict: bool) {
    let matches = |list: &[String], name: &str| {
        assert!(
            list.iter().any(|p| name.starts_with(p)),
            "{name:?} is not covered by {list:?}"
        );
    };
    for name in &sections.functions.removed {
        matches(&filter.functions, name);
        let was = view.functions.remove(name.0);
        assert!(was.is_some() || !strict, "{name} was removed but not there");
    }
    let added = sections.functions.added.iter().map(|it| (it, false));
    let updated = sections.functions.updated.iter().map(|it| (it, true));
    for (it, is_update) in added.chain(updated) {
        matches(&filter.functions, &it.name);
        let was = view.functions.insert(it.name.to_string(), digest(it));
        assert!(
            was.is_some() == is_update || !strict,
            "{}: added or updated?",
            it.name
        );
    }
    for it in &sections.workers.removed {
        matches(&filter.workers, &it.name);
        let was = view.workers.remove(&it.id);
        view.metadata.remove(&it.id);
        assert!(
            was.is_some() || !strict,
            "worker {} was removed but not there",
            it.id
        );
    }
    let added = sections.workers.added.iter().map(|it| (it, false));
    let updated = sections.workers.updated.iter().map(|it| (it, true));
    for (it, is_update) in added.chain(updated) {
        matches(&filter.workers, &it.name);
        let known = view.workers.contains_key(&it.id);
        assert!(
            known == is_update || !strict,
            "worker {}: added or updated?",
            it.id
        );
        let (name, functions) = view.workers.entry(it.id).or_default();
        *name = it.name.to_string();
        // Without it, the worker's is what it was.
        match &it.metadata {
            Some(none) if none.is_empty() => drop(view.metadata.remove(&it.id)),
            Some(metadata) => drop(view.metadata.insert(it.id, metadata.to_vec())),
            None => {}
        }
        for function in &it.removed {
            let was = functions.remove(function.0);
            assert!(was || !strict, "worker {}: {function} was not there", it.id);
        }
        for function in &it.added {
            let is_new = functions.insert(function.to_string());
            assert!(is_new || !strict, "worker {}: {function} was there", it.id);
        }
    }
    if !strict {
        // Replayed over chunks of a later revision, a worker's changes may leave nothing of it.
        view.workers
            .retain(|_, (_, functions)| !functions.is_empty());
        view.metadata.retain(|id, _| view.workers.contains_key(id));
    }
}
