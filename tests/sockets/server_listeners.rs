//! Where a server listens: several addresses at once, ports that are free, socket files that are
//! stale; and how it ends.

use crate::client::{Client, End, View, serve, serve_again, until};
use callboard::address::Address;
use callboard::limits::Limits;
use callboard::protocol::Message;
use callboard::server::{BindError, Server, ServerConfig};

fn config(listen: &[&str]) -> ServerConfig {
    ServerConfig {
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        ..ServerConfig::default()
    }
}

#[test]
fn tcp_and_unix_sockets_show_the_same_board() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.sock");
    let unix = format!("unix:{}", path.display());
    let server = Server::spawn(config(&["127.0.0.1:0", &unix, "127.0.0.1:0"])).unwrap();
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 3);
    assert_eq!(addresses[1].to_string(), unix);
    let mut workers = Vec::new();
    for (address, name) in addresses.iter().zip(["a", "b", "c"]) {
        let mut worker = Client::join(address, name);
        worker.register(&[name]).unwrap();
        workers.push(worker);
    }
    for address in addresses {
        let mut watcher = Client::join_all(address, "watcher");
        assert_eq!(View::sync(&mut watcher).names(), ["a", "b", "c"]);
    }
    server.shutdown();
    drop(workers);
    server.join().unwrap();
    assert!(!path.exists(), "the socket file is removed");
}

#[test]
fn a_crash_leaves_a_socket_file_that_the_next_server_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.sock");
    let unix = format!("unix:{}", path.display());
    let crashed = Server::spawn(config(&[&unix])).unwrap();
    let mut client = Client::join(&crashed.addresses()[0], "worker");
    crashed.kill();
    crashed.join().unwrap();
    assert_eq!(client.next_or_end(), Err(End::Clean), "no GOODBYE");
    assert!(path.exists());

    let server = serve_again(&config(&[&unix]));
    assert!(Client::join(&server.addresses()[0], "worker").is_served());
    let second = Server::bind(config(&[&unix]));
    assert!(matches!(second, Err(BindError::InUse(_))), "{second:?}");
    assert!(Client::join(&server.addresses()[0], "worker").is_served());
}

#[test]
fn a_server_binds_all_its_addresses_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.sock");
    let unix = format!("unix:{}", path.display());
    let first = serve(Limits::default());
    let taken = first.addresses()[0].to_string();
    let error = Server::bind(config(&[&unix, &taken])).unwrap_err();
    assert!(matches!(error, BindError::InUse(Address::Tcp(_))));
    assert!(error.to_string().contains(&taken), "{error}");
    assert!(!path.exists());
    let none = Server::bind(config(&[]));
    assert!(matches!(none, Err(BindError::NoAddress)));
}

#[test]
fn a_port_is_free_again_at_once() {
    let server = serve(Limits::default());
    let at = server.addresses()[0].clone();
    let client = Client::join(&at, "worker");
    server.shutdown();
    drop(client);
    server.join().unwrap();
    let again = serve_again(&config(&[&at.to_string()]));
    assert!(Client::join(&again.addresses()[0], "worker").is_served());
}

#[test]
fn a_shutdown_tells_everyone_and_ends() {
    let server = serve(Limits::default());
    let at = server.addresses()[0].clone();
    let mut worker = Client::join(&at, "worker");
    worker.register(&["f"]).unwrap();
    let mut watcher = Client::join_all(&at, "watcher");
    let mut view = View::sync(&mut watcher);
    let mut stranger = Client::connect(&at);
    until("the stranger is accepted", || {
        server.counters().accepted == 3
    });

    server.shutdown();
    for client in [&mut worker, &mut watcher] {
        let drain = client.next_where(|message| matches!(message, Message::Drain(_)));
        let Message::Drain(drain) = drain.message() else {
            unreachable!()
        };
        assert!(drain.ext.retry_after_ms.is_some());
    }
    let (code, _) = worker.goodbye();
    assert_eq!(code, "shutting_down");
    drop(worker);
    // The worker's end is not told any more: no view empties.
    let last = loop {
        match watcher.next_or_end() {
            Ok(frame) => {
                assert!(!matches!(frame.message(), Message::Changes(_)));
                view.apply(&frame);
            }
            Err(end) => break end,
        }
    };
    assert_eq!(last, End::Clean);
    assert!(view.has("f"));
    assert_eq!(stranger.goodbye().0, "shutting_down");
    drop((watcher, stranger));
    server.join().unwrap();
}

#[test]
fn a_dropped_handle_ends_the_server() {
    let server = serve(Limits::default());
    let mut client = Client::join(&server.addresses()[0], "worker");
    drop(server);
    assert!(client.next_or_end().is_err());
}
