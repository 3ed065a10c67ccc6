//! Legal frames that ask for too much or for nonsense: a typed failure, nothing of the batch done, and
//! the connection stays. And more peers than there is room for.

use crate::client::{Client, View, function, hello, serve};
use callboard::limits::Limits;
use callboard::protocol::{Hello, HelloOptions, Message, Text, Watch};

fn first(text: &(String, String)) -> &str {
    &text.0
}

#[test]
fn a_batch_with_a_bad_name_registers_nothing() {
    let server = serve(Limits::default());
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let mut worker = Client::join(at, "worker");
    let long = "x".repeat(256);
    for (name, code) in [
        ("", "invalid_name"),
        (&*long, "invalid_name"),
        ("a b", "invalid_name"),
        ("a\u{1b}[31m", "invalid_name"),
        ("stra\u{df}e", "invalid_name"),
        ("engine::mine", "reserved_name"),
    ] {
        let failure = worker.register(&["good", name]).unwrap_err();
        assert_eq!(failure.0, code, "{name:?}: {}", failure.1);
    }
    let longest = "x".repeat(255);
    worker.register(&[&longest]).unwrap();
    view.read_until(&mut watcher, |view| !view.functions.is_empty());
    assert_eq!(view.names(), [longest]);
}

#[test]
fn the_last_definition_of_a_name_holds_and_is_one_entry() {
    let server = serve(Limits::default());
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let mut worker = Client::join(at, "worker");
    let (mut one, mut two) = (function("twice"), function("twice"));
    one.description = Text("one");
    two.description = Text("two");
    worker.register_all(vec![one, two.clone()]).unwrap();
    let frame = watcher.next_where(|message| matches!(message, Message::Changes(_)));
    let Message::Changes(changes) = frame.message() else {
        unreachable!()
    };
    assert_eq!(changes.sections.functions.added, [two.clone()]);
    assert!(changes.sections.functions.updated.is_empty());
    view.apply(&frame);

    // The same again is no change: the next that the watcher hears of is something else.
    let before = view.revision;
    assert_eq!(worker.register_all(vec![two]), Ok(before));
    let after = worker.register(&["next"]).unwrap();
    assert_eq!(after, before + 1);
    view.read_until(&mut watcher, |view| view.revision != before);
    assert_eq!(view.names(), ["next", "twice"]);
    assert_eq!(view.revision, after);
}

#[test]
fn unregistering_what_one_has_not_changes_nothing() {
    let server = serve(Limits::default());
    let at = &server.addresses()[0];
    let mut worker = Client::join(at, "worker");
    worker.register(&["mine"]).unwrap();
    let mut other = Client::join(at, "other");
    other.register(&["theirs"]).unwrap();
    let failure = worker.unregister(&["mine", "theirs"]).unwrap_err();
    assert_eq!(first(&failure), "not_registered");
    let mut watcher = Client::join_all(at, "watcher");
    assert_eq!(View::sync(&mut watcher).names(), ["mine", "theirs"]);
}

#[test]
fn limits_of_a_worker_are_failures_that_name_the_flag() {
    let server = serve(Limits {
        max_functions: 3,
        max_entry: 100,
        max_metadata: 250,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut worker = Client::join(at, "worker");
    let refused = |result: Result<u64, (String, String)>, code: &str, flag: &str| {
        let (told, message) = result.unwrap_err();
        assert_eq!(told, code, "{message}");
        assert!(message.contains(flag), "{message}");
    };
    let too_many = worker.register(&["a", "b", "c", "d"]);
    refused(too_many, "too_many_functions", "--max-functions");

    let bytes = [7; 101];
    let mut large = function("large");
    large.metadata.0 = &bytes;
    let too_large = worker.register_all(vec![function("a"), large]);
    refused(too_large, "entry_too_large", "--max-entry");

    let entries = ["a", "b", "c"].map(|name| {
        let mut entry = function(name);
        entry.metadata.0 = &bytes[..90];
        entry
    });
    let too_much = worker.register_all(entries.to_vec());
    refused(too_much, "metadata_too_large", "--max-metadata");

    // Nothing of all that is there, and what fits is taken.
    worker.register(&["a", "b"]).unwrap();
    worker.register(&["a", "c"]).unwrap();
    refused(
        worker.register(&["d"]),
        "too_many_functions",
        "--max-functions",
    );
    let mut watcher = Client::join_all(at, "watcher");
    assert_eq!(View::sync(&mut watcher).names(), ["a", "b", "c"]);
}

#[test]
fn one_provider_too_many_in_a_namespace_may_try_again() {
    let server = serve(Limits {
        max_workers: 1,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut first = Client::join(at, "first");
    let mut second = Client::join(at, "second");
    first.register(&["a"]).unwrap();
    let (code, message) = second.register(&["b"]).unwrap_err();
    assert_eq!(code, "too_many_workers");
    assert!(message.contains("--max-workers"), "{message}");
    first.unregister(&["a"]).unwrap();
    second.register(&["b"]).unwrap();
}

#[test]
fn one_connection_too_many_is_refused_and_the_next_fits_again() {
    let server = serve(Limits {
        max_connections: 2,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut one = Client::join(at, "one");
    let two = Client::join(at, "two");
    let mut three = Client::connect(at);
    let (code, message) = three.goodbye();
    assert_eq!(code, "too_many_connections");
    assert!(message.contains("--max-connections"), "{message}");
    drop((two, three));
    crate::client::until("there is room again", || {
        let mut next = Client::connect(at);
        next.try_send(&hello("next", Watch::default())).is_ok()
            && next
                .next_or_end()
                .is_ok_and(|frame| matches!(frame.message(), Message::Welcome(_)))
    });
    assert!(one.is_served());
}

#[test]
fn watches_and_namespaces_are_bounded() {
    let server = serve(Limits {
        max_namespaces: 1,
        max_audiences: 1,
        max_prefixes: 2,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut bystander = Client::join_all(at, "bystander");
    View::sync(&mut bystander);
    let say = |namespace: &str, prefixes: &[&str]| {
        let mut client = Client::connect(at);
        let functions = prefixes.iter().map(|&prefix| Text(prefix)).collect();
        let hello = Hello {
            versions: vec![1],
            name: Text("one-too-many"),
            namespace: Text(namespace),
            ext: HelloOptions {
                watch: Some(Watch {
                    functions: Some(functions),
                    ..Watch::default()
                }),
                ..HelloOptions::default()
            },
        };
        client.send(&hello.to_frame());
        client.goodbye()
    };
    for (refused, code, flag) in [
        (
            say("other", &[""]),
            "too_many_namespaces",
            "--max-namespaces",
        ),
        (
            say("default", &["a"]),
            "too_many_audiences",
            "--max-audiences",
        ),
        (
            say("default", &["a", "b", "c"]),
            "too_many_prefixes",
            "--max-prefixes",
        ),
    ] {
        assert_eq!(refused.0, code, "{}", refused.1);
        assert!(refused.1.contains(flag), "{}", refused.1);
    }
    assert!(bystander.is_served());
}

#[test]
fn a_crowd_that_comes_at_once_is_served_to_the_last() {
    const CROWD: usize = 300;
    let server = serve(Limits::default());
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let names: Vec<String> = (0..CROWD).map(|i| format!("crowd::{i}")).collect();
    let mut crowd: Vec<Client> = names.iter().map(|_| Client::connect(at)).collect();
    for (client, name) in crowd.iter_mut().zip(&names) {
        let register = callboard::protocol::Register {
            id: 1,
            functions: vec![function(name)],
            ..Default::default()
        };
        let mut both = hello(name, Watch::default());
        register.encode(&mut both);
        client.send(&both);
    }
    for client in &mut crowd {
        client.answer(1).unwrap();
    }
    view.read_until(&mut watcher, |view| view.functions.len() == CROWD);
    let before = view.revision;
    drop(crowd);
    view.read_until(&mut watcher, |view| view.functions.is_empty());
    assert!(view.revision > before);
}
