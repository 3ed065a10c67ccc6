//! Peers that take their time: silent ones, ones that do not read, ones that change the board as fast
//! as they can. Times are set low where the test waits for one to pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::{Client, View, function, serve, until};
use callboard::limits::Limits;
use callboard::protocol::{Bind, BindingEntry, Emit, Message, Ping, Pong, Ready, Text};
use callboard::server::{Server, ServerConfig};

#[test]
fn gone_is_gone_after_silence() {
    let server = serve(Limits {
        ping_after: 100,
        silence: 400,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let mut mute = Client::join(at, "mute");
    mute.register(&["mute::a", "mute::b"]).unwrap();
    view.read_until(&mut watcher, |view| view.has("mute::a"));
    // The watcher answers its PINGs meanwhile, and stays.
    view.read_until(&mut watcher, |view| {
        assert_eq!(view.has("mute::a"), view.has("mute::b"));
        !view.has("mute::a")
    });
    mute.next_where(|message| matches!(message, Message::Ping(_)));
    assert_eq!(mute.goodbye().0, "silent");
    assert!(watcher.is_served());
}

#[test]
fn a_peer_that_answers_pings_is_never_silent() {
    let server = serve(Limits {
        ping_after: 50,
        silence: 10_000,
        ..Limits::default()
    });
    let mut client = Client::join(&server.addresses()[0], "quiet");
    for _ in 0..5 {
        client.next_where(|message| matches!(message, Message::Ping(_)));
        client.send(&Pong::default().to_frame());
    }
    assert!(client.is_served());
}

#[test]
fn a_reader_without_a_window_is_closed_and_holds_no_other_up() {
    let server = serve(Limits {
        write_deadline: 400,
        send_buffer: 16_384,
        linger: 10_000,
        changes_per_second: 0,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let mut stuck = Client::join_all(at, "stuck");
    stuck.register(&["stuck::f"]).unwrap();
    view.read_until(&mut watcher, |view| view.has("stuck::f"));

    // Far more than both kernels' buffers take, and none of it can be folded into less.
    let mut churner = Client::join(at, "churner");
    let metadata = vec![1; 30_000];
    for i in 0..80 {
        let name = format!("churn::{i}");
        let mut entry = function(&name);
        entry.metadata.0 = &metadata;
        churner.register_all(vec![entry]).unwrap();
    }
    let last = churner.register(&["churn::last"]).unwrap();
    view.read_until(&mut watcher, |view| view.has("churn::last"));
    assert!(view.revision >= last);

    view.read_until(&mut watcher, |view| !view.has("stuck::f"));
    assert_eq!(stuck.goodbye().0, "too_slow");
}

#[test]
fn a_worker_that_toggles_is_slowed_and_the_others_are_not() {
    const TOGGLES: u64 = 30;
    let server = serve(Limits {
        changes_per_second: 10,
        ..Limits::default()
    });
    let at = &server.addresses()[0];
    let mut watcher = Client::join_all(at, "watcher");
    let mut view = View::sync(&mut watcher);
    let mut toggler = Client::join(at, "toggler");
    let toggling = std::thread::spawn(move || {
        for i in 0..TOGGLES {
            if i % 2 == 0 {
                toggler.register(&["toggle"]).unwrap();
            } else {
                toggler.unregister(&["toggle"]).unwrap();
            }
        }
        toggler
    });
    // Ten steps at once are within the budget; those after them come at ten a second.
    view.read_until(&mut watcher, |view| view.revision >= 15);
    let mut other = Client::join(at, "other");
    let revision = other.register(&["other"]).unwrap();
    assert!(
        revision < TOGGLES,
        "the other came before the toggler was through"
    );
    view.read_until(&mut watcher, |view| view.has("other"));
    assert!(toggling.join().unwrap().is_served(), "slowed, not closed");
}

#[test]
fn a_flood_of_what_makes_much_work_is_slowed_and_the_others_are_not() {
    const NAMES: usize = 2_000;
    // So many that some of them are handled in a turn that the other one wants, too.
    const EVENTS: u64 = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let local = format!("unix:{}", folder.path().join("socket").display());
    let server = Server::spawn(ServerConfig {
        listen: vec!["127.0.0.2:0".parse().unwrap(), local.parse().unwrap()],
        limits: Limits {
            max_share: 1,
            ..Limits::default()
        },
        ..ServerConfig::default()
    })
    .unwrap();
    let [at, local] = [0, 1].map(|index| &server.addresses()[index]);
    // Another user, who wants the engine all the time: a share binds only beside others.
    let is_over = Arc::new(AtomicBool::new(false));
    let mut busy = Client::join(local, "busy");
    let busy = std::thread::spawn({
        let is_over = is_over.clone();
        move || {
            while !is_over.load(Ordering::Relaxed) {
                busy.send(&Ping::default().to_frame().repeat(500));
                (0..500).for_each(|_| drop(busy.next()));
            }
        }
    });
    let mut flood = Client::join(at, "flood");
    let names: Vec<String> = (0..NAMES).map(|index| format!("f{index}")).collect();
    let entry = |name| BindingEntry {
        event: Text("e"),
        function: Text(name),
        ..BindingEntry::default()
    };
    let id = flood.new_id();
    let bind = Bind {
        id,
        bindings: names.iter().map(|name| entry(name)).collect(),
        ..Bind::default()
    };
    flood.send(&bind.to_frame());
    flood.answer(id).unwrap();
    // All at once: the engine has it all with one read, and the peer closes its half behind it.
    let emit = Emit {
        event: Text("e"),
        ..Emit::default()
    };
    let id = flood.new_id();
    let ready = Ready {
        id,
        ..Ready::default()
    };
    let said = [emit.to_frame().repeat(EVENTS as usize), ready.to_frame()].concat();
    flood.send(&said);
    flood.finish();
    let stats = || server.stats().unwrap();
    until("the flood is slowed", || {
        stats().limited.contains_key("max-share")
    });
    let mut other = Client::join(at, "other");
    other.register(&["other"]).unwrap();
    is_over.store(true, Ordering::Relaxed);
    busy.join().unwrap();
    // In the end all of it is done, and its end is seen.
    assert!(flood.answer(id).is_ok());
    assert_eq!(stats().dropped["event_nobody"], EVENTS * NAMES as u64);
    until("the flood has left", || stats().connections == 1);
}
