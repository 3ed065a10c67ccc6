//! Events: each bound function is cast to once, and bindings stand on the board.

use callboard::address::Address;
use callboard::protocol::{
    Bin, Bind, BindingEntry, BindingKey, Emit, Message, Sections, Text, Unbind, Watch,
};

use super::casts::deliveries;
use crate::client::{Client, serve, until};
use crate::peer::patient;
use crate::talk::dropped;

fn binding<'a>(event: &'a str, function: &'a str) -> BindingEntry<'a> {
    BindingEntry {
        event: Text(event),
        function: Text(function),
        ..BindingEntry::default()
    }
}

impl Client {
    /// Binds one batch; `Ok(revision)` or the failure's code and message.
    fn bind(&mut self, bindings: Vec<BindingEntry<'_>>) -> Result<u64, (String, String)> {
        let id = self.new_id();
        let bind = Bind {
            id,
            bindings,
            ..Bind::default()
        };
        self.send(&bind.to_frame());
        self.answer(id)
    }

    fn unbind(&mut self, event: &str, function: &str) -> Result<u64, (String, String)> {
        let id = self.new_id();
        let key = BindingKey {
            event: Text(event),
            function: Text(function),
            ..BindingKey::default()
        };
        let unbind = Unbind {
            id,
            bindings: vec![key],
            ..Unbind::default()
        };
        self.send(&unbind.to_frame());
        self.answer(id)
    }

    fn emit_as(&mut self, id: u64, event: &str, payload: &[u8]) {
        let emit = Emit {
            id,
            event: Text(event),
            payload: Bin(payload),
            ..Emit::default()
        };
        self.send(&emit.to_frame());
    }

    /// Emits and says how many functions are bound, or the failure's code.
    fn emit(&mut self, event: &str, payload: &[u8]) -> Result<u64, String> {
        let id = self.new_id();
        self.emit_as(id, event, payload);
        match self.next().message() {
            Message::Outcome(outcome) if outcome.id == id => {
                Ok(outcome.ext.matched.expect("matched"))
            }
            Message::Failure(failure) if failure.id == id => Err(failure.code.to_string()),
            other => panic!("not the answer: {other:?}"),
        }
    }

    /// Reads until a change, and gives its revisions and what it says of bindings: one word and one key
    /// each.
    fn next_change(&mut self) -> (u64, Vec<String>) {
        let frame = self.next_where(|message| matches!(message, Message::Changes(_)));
        let Message::Changes(changes) = frame.message() else {
            unreachable!()
        };
        (changes.to, said(&changes.sections))
    }
}

fn said(sections: &Sections<'_>) -> Vec<String> {
    let section = &sections.bindings;
    let removed = section
        .removed
        .iter()
        .map(|it| format!("removed {} {} {}", it.event, it.function, it.id));
    let entry = |word: &'static str| {
        move |it: &BindingEntry<'_>| {
            let config = String::from_utf8_lossy(&it.config);
            format!("{word} {} {} {} {config}", it.event, it.function, it.id)
        }
    };
    removed
        .chain(section.added.iter().map(entry("added")))
        .chain(section.updated.iter().map(entry("updated")))
        .collect()
}

/// So many workers that provide `f`.
fn replicas(at: &Address, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut replica = Client::join(at, "replica");
            replica.register(&["f"]).unwrap();
            replica
        })
        .collect()
}

#[test]
fn replicas_that_bind_the_same_cause_one_delivery() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut replicas = replicas(at, 3);
    for replica in &mut replicas {
        replica.bind(vec![binding("paid", "f")]).unwrap();
    }
    let mut source = Client::join(at, "source");
    for n in 0..6u8 {
        assert_eq!(source.emit("paid", &[n]), Ok(1));
    }
    let mut payloads = Vec::new();
    for replica in &mut replicas {
        let got = deliveries(replica);
        assert_eq!(got.len(), 2);
        for delivery in got {
            assert_eq!((&*delivery.event, &*delivery.function), ("paid", "f"));
            assert_eq!(delivery.caller_name, "source");
            payloads.extend(delivery.payload);
        }
    }
    payloads.sort_unstable();
    assert_eq!(payloads, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn deliver_all_reaches_every_provider() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut replicas = replicas(at, 3);
    let to_all = BindingEntry {
        deliver_all: true,
        ..binding("drop", "f")
    };
    replicas[0].bind(vec![to_all]).unwrap();
    let mut source = Client::join(at, "source");
    for _ in 0..2 {
        assert_eq!(source.emit("drop", b"k"), Ok(1));
    }
    for replica in &mut replicas {
        assert_eq!(deliveries(replica).len(), 2);
    }
}

#[test]
fn each_function_bound_to_an_event_is_cast_to_once_and_others_are_not() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Client::join(at, "worker");
    worker.register(&["a", "b", "c"]).unwrap();
    let again = BindingEntry {
        id: Text("again"),
        ..binding("paid", "a")
    };
    let batch = vec![
        binding("paid", "a"),
        again,
        binding("paid", "b"),
        binding("paid.late", "c"),
        binding("paid", "nobody::provides"),
    ];
    worker.bind(batch).unwrap();
    let mut source = Client::join(at, "source");
    assert_eq!(source.emit("paid", b""), Ok(3));
    assert_eq!(source.emit("pai", b""), Ok(0));
    let functions: Vec<String> = deliveries(&mut worker)
        .into_iter()
        .map(|it| it.function)
        .collect();
    assert_eq!(functions, ["a", "b"]);
    until("the third was dropped", || {
        dropped(&server) == [("event_nobody", 1)]
    });
}

#[test]
fn an_emit_with_id_0_is_never_answered() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Client::join(at, "worker");
    worker.register(&["f"]).unwrap();
    worker.bind(vec![binding("paid", "f")]).unwrap();
    let mut source = Client::join(at, "source");
    source.emit_as(0, "paid", b"1");
    source.emit_as(0, "no such name", b"2");
    source.emit_as(0, "paid", &vec![0; 1_048_577]);
    assert_eq!(deliveries(&mut source), [], "no answer");
    assert_eq!(deliveries(&mut worker).len(), 1);
    let reasons = [("event_invalid", 1), ("event_too_large", 1)];
    assert_eq!(dropped(&server), reasons);
    // With an id, the same are answered.
    assert_eq!(source.emit("no such name", b""), Err("invalid_name".into()));
    let too_large = source.emit("paid", &vec![0; 1_048_577]);
    assert_eq!(too_large, Err("payload_too_large".into()));
}

#[test]
fn bindings_stand_on_the_board_and_leave_with_the_last_worker_that_made_them() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let watch = || Watch {
        bindings: Some(vec![Text("cron.")]),
        ..Watch::default()
    };
    let mut watcher = Client::join_watching(at, "watcher", watch());
    watcher.next_where(|message| matches!(message, Message::Synced(_)));
    let nightly = |config: &'static str| BindingEntry {
        config: Bin(config.as_bytes()),
        ..binding("cron.nightly", "report")
    };
    let (mut first, mut second) = (Client::join(at, "first"), Client::join(at, "second"));
    let both = vec![nightly("03:00"), binding("other", "report")];
    let revision = first.bind(both).unwrap();
    let added = "added cron.nightly report  03:00".to_owned();
    assert_eq!(watcher.next_change(), (revision, vec![added.clone()]));
    // The same by another is no news; another config by the first one is.
    second.bind(vec![nightly("03:00")]).unwrap();
    let revision = first.bind(vec![nightly("04:00")]).unwrap();
    let updated = "updated cron.nightly report  04:00".to_owned();
    assert_eq!(watcher.next_change(), (revision, vec![updated]));
    // A worker that joins now gets it in the snapshot.
    let mut joiner = Client::join_watching(at, "joiner", watch());
    let frame = joiner.next_where(|message| matches!(message, Message::Snapshot(_)));
    let Message::Snapshot(snapshot) = frame.message() else {
        unreachable!()
    };
    assert_eq!(
        said(&snapshot.sections),
        ["added cron.nightly report  04:00"]
    );
    // The first leaves: the second one's is shown. Then none is left.
    first.reset();
    let updated = "updated cron.nightly report  03:00".to_owned();
    assert_eq!(watcher.next_change().1, [updated]);
    let (code, _) = second.unbind("cron.nightly", "other").unwrap_err();
    assert_eq!(code, "not_registered");
    let revision = second.unbind("cron.nightly", "report").unwrap();
    let removed = "removed cron.nightly report ".to_owned();
    assert_eq!(watcher.next_change(), (revision, vec![removed]));
    assert_eq!(server.stats().unwrap().bindings, 0);
}

#[test]
fn a_batch_of_bindings_is_all_or_nothing() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let mut worker = Client::join(at, "worker");
    for (bad, code) in [
        (binding("", "f"), "invalid_name"),
        (binding("paid", "two words"), "invalid_name"),
        (binding("paid", "engine::stats"), "reserved_name"),
    ] {
        let (got, _) = worker.bind(vec![binding("paid", "f"), bad]).unwrap_err();
        assert_eq!(got, code);
    }
    assert_eq!(server.stats().unwrap().bindings, 0);
    assert!(worker.is_served());
}

#[test]
fn functions_and_bindings_of_a_dead_worker_leave_in_one_step() {
    let server = serve(patient());
    let at = &server.addresses()[0];
    let watch = Watch {
        functions: Some(vec![Text("")]),
        workers: Some(vec![Text("")]),
        bindings: Some(vec![Text("")]),
    };
    let mut watcher = Client::join_watching(at, "watcher", watch);
    let mut doomed = Client::join(at, "doomed");
    doomed.register(&["f"]).unwrap();
    let revision = doomed.bind(vec![binding("paid", "f")]).unwrap();
    // The watcher may have joined before, in between or after.
    until("the binding is there", || {
        server.stats().unwrap().bindings == 1
    });
    doomed.reset();
    let frame = watcher.next_where(
        |message| matches!(message, Message::Changes(changes) if changes.to > revision),
    );
    let Message::Changes(changes) = frame.message() else {
        unreachable!()
    };
    assert_eq!(changes.sections.functions.removed, [Text("f")]);
    assert_eq!(changes.sections.workers.removed.len(), 1);
    assert_eq!(said(&changes.sections), ["removed paid f "]);
    assert_eq!(changes.to, revision + 1);
}
