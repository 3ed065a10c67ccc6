//! Sockets that the manager opened: which are served, which are refused, and what becomes of them.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use callboard::address::Address;
use callboard::protocol::{Message, Watch};
use callboard::server::Service;
use socket2::{Domain, Socket, Type};

use super::SERVE;
use super::notify_socket::NotifySocket;
use super::start::Start;
use crate::client::{Client, hello, until};

/// Serves what it is given.
const GIVEN: &[&str] = &["serve", "--grace", "5000"];

fn listener() -> (TcpListener, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    (listener, address)
}

/// The exit code and the log of an engine that does not start.
fn refused(start: Start) -> (i32, String) {
    let mut engine = start.spawn();
    let code = engine.end();
    (code, engine.log())
}

#[test]
fn sockets_of_the_manager_are_served_and_outlive_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("board.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let (tcp, at) = listener();
    let start = || {
        let manager = NotifySocket::new();
        let engine = Start::engine(GIVEN)
            .socket(tcp.try_clone().unwrap())
            .second_socket(unix.try_clone().unwrap())
            .env("NOTIFY_SOCKET", &manager.path())
            .spawn();
        manager.hears("READY=1");
        engine
    };
    let addresses = [at, Address::Unix(path.clone())];

    let mut engine = start();
    assert_eq!(engine.addresses(), addresses, "and not the default one");
    for address in &addresses {
        let mut worker = Client::join_all(address, "worker");
        worker.register(&["f"]).unwrap();
        worker.finish();
    }
    engine.terminate();
    assert!(path.exists(), "the manager's to remove");

    // Between two engines no connection is refused: the manager holds the sockets.
    let early: Vec<Client> = addresses.iter().map(Client::connect).collect();
    let mut engine = start();
    for mut client in early {
        client.send(&hello("early", Watch::default()));
        assert!(matches!(client.next().message(), Message::Welcome(_)));
    }
    engine.terminate();
}

#[test]
fn an_engine_listens_where_it_is_told_to_besides() {
    let (tcp, at) = listener();
    let engine = Start::engine(SERVE).socket(tcp).spawn();
    until("it listens", || engine.addresses().len() == 2);
    let addresses = engine.addresses();
    assert_eq!(addresses[0], at);
    for address in &addresses {
        assert!(Client::join(address, "worker").is_served());
    }
}

#[test]
fn a_socket_at_an_abstract_name_is_served() {
    let name = format!("callboard-activation-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = NotifySocket::new();
    let mut engine = Start::engine(GIVEN)
        .socket(UnixListener::bind_addr(&address).unwrap())
        .env("NOTIFY_SOCKET", &manager.path())
        .spawn();
    manager.hears("READY=1");
    assert!(engine.log().contains(&format!("listening on unix:@{name}")));
    let _peer = UnixStream::connect_addr(&address).unwrap();
    manager.hears("1 connection");
    engine.terminate();
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let (tcp, at) = listener();
    for nobody in ["export LISTEN_PID=1", "unset LISTEN_PID"] {
        let engine = Start::engine(SERVE)
            .socket(tcp.try_clone().unwrap())
            .shell(nobody)
            .spawn();
        until("it listens", || !engine.addresses().is_empty());
        assert_ne!(engine.address(), at);
    }
}

#[test]
fn what_is_no_listening_stream_socket_is_refused() {
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (connected, _other) = UnixStream::pair().unwrap();
    let (tcp, at) = listener();
    let accepted = TcpStream::connect(at.to_string()).unwrap();
    let wrong: [(&str, OwnedFd); 6] = [
        ("a file", File::open("/dev/null").unwrap().into()),
        ("datagrams", UnixDatagram::unbound().unwrap().into()),
        (
            "UDP",
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        ),
        ("a socket that does not listen", silent.into()),
        ("a connection", connected.into()),
        ("a TCP connection", accepted.into()),
    ];
    for (what, socket) in wrong {
        let (code, log) = refused(Start::engine(GIVEN).socket(socket));
        assert_eq!(code, 5, "{what}: {log}");
        assert!(
            log.contains("descriptor 3 of the service manager"),
            "{what}: {log}"
        );
    }
    let two = Start::engine(GIVEN).socket(tcp.try_clone().unwrap());
    let (code, log) = refused(two.shell("export LISTEN_FDS=2"));
    assert_eq!(code, 5, "{log}");
    assert!(log.contains("descriptor 4 of the service manager"), "{log}");
    for count in ["", "two", "-1", "1000000000"] {
        let none = Start::engine(GIVEN).socket(tcp.try_clone().unwrap());
        let (code, log) = refused(none.shell(&format!("export LISTEN_FDS={count}")));
        assert_eq!(code, 5, "{log}");
        assert!(log.contains(&format!("LISTEN_FDS is `{count}`")), "{log}");
    }
}

#[test]
fn sockets_that_other_hosts_reach_need_insecure_as_well() {
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let (code, log) = refused(Start::engine(GIVEN).socket(everywhere.try_clone().unwrap()));
    assert_eq!(code, 5, "{log}");
    assert!(log.contains("--insecure"), "{log}");
    // With it, the next obstacle shows: no test serves a public address.
    let (_busy, at) = listener();
    let at = at.to_string();
    let arguments = [GIVEN, &["--insecure", "--listen", &at]].concat();
    let (code, log) = refused(Start::engine(&arguments).socket(everywhere));
    assert_eq!(code, 5, "{log}");
    assert!(log.contains("in use"), "{log}");
}

#[test]
fn sockets_that_other_hosts_reach_are_served_with_credentials() {
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("callboard-credentials"), "").unwrap();
    let engine = Start::engine(GIVEN)
        .socket(everywhere)
        .env("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap());
    let engine = engine.spawn();
    until("it listens", || !engine.addresses().is_empty());
}

#[test]
fn children_inherit_neither_the_sockets_nor_their_variables() {
    let program = std::env::current_exe().unwrap();
    let arguments = [
        "--exact",
        "service::activation::process",
        "--nocapture",
        "--test-threads=1",
    ];
    let (tcp, at) = listener();
    let started = Start::new(program.to_str().unwrap(), &arguments)
        .socket(tcp)
        .env("CALLBOARD_TEST_ACTIVATED", "yes")
        .spawn();
    until("it has said all", || started.log().contains("that is all"));
    let log = started.log();
    assert!(log.contains(&format!("given {at}\n")), "{log}");
    assert!(log.contains("again []\n"), "{log}");
    let child = log.split("the child has\n").nth(1).unwrap();
    assert!(child.contains("CALLBOARD_TEST_ACTIVATED"), "{child}");
    assert!(!child.contains("LISTEN_"), "{child}");
    assert!(child.contains("/fd/0 -> /dev/null\n"), "{child}");
    assert!(!child.contains("socket:"), "{child}");
}

/// Not a test by itself: what the process runs that the test before this one starts.
#[test]
fn process() {
    if std::env::var_os("CALLBOARD_TEST_ACTIVATED").is_none() {
        return;
    }
    let service = Service::from_environment().unwrap();
    eprintln!("given {}", service.addresses()[0]);
    let again = Service::from_environment().unwrap();
    eprintln!("again {:?}", again.addresses());
    eprintln!("the child has");
    let script = r#"env; for fd in /proc/$$/fd/*; do echo "$fd -> $(readlink "$fd")"; done"#;
    let child = Command::new("sh").args(["-c", script]).output().unwrap();
    eprintln!("{}that is all", String::from_utf8_lossy(&child.stdout));
}
