//! Bytes that no library would send: each closes the connection that sent them, with a typed GOODBYE
//! that can be read, takes what it had off the board, and affects no other connection.

use std::time::Duration;

use crate::client::{Client, View, framed, function, hello, serve};
use callboard::limits::Limits;
use callboard::protocol::{Cancel, Failure, Hello, Message, Outcome, Ping, Text, Watch};
use callboard::server::ServerHandle;

/// A server, a bystander that watches, and an offender to come.
struct Stage {
    server: ServerHandle,
    bystander: Client,
    view: View,
}

impl Stage {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let server = serve(limits);
        let mut bystander = Client::join_all(&server.addresses()[0], "bystander");
        let view = View::sync(&mut bystander);
        Self {
            server,
            bystander,
            view,
        }
    }

    fn stranger(&self) -> Client {
        Client::connect(&self.server.addresses()[0])
    }

    /// A worker in good standing, so far.
    fn offender(&mut self) -> Client {
        let mut offender = Client::join(&self.server.addresses()[0], "offender");
        offender.register(&["offender::a", "offender::b"]).unwrap();
        self.view
            .read_until(&mut self.bystander, |view| view.has("offender::b"));
        offender
    }

    /// The offender is told `code` and closed, all that it had leaves in one step, and the others go
    /// on as before. Returns the message.
    #[track_caller]
    fn closes(&mut self, mut offender: Client, code: &str) -> String {
        let (told, message) = offender.goodbye();
        assert_eq!(told, code, "{message}");
        let had_something = self.view.has("offender::a");
        self.view.read_until(&mut self.bystander, |view| {
            assert_eq!(view.has("offender::a"), view.has("offender::b"));
            !view.has("offender::a")
        });
        let mut other = Client::join(&self.server.addresses()[0], "other");
        let revision = other.register(&["other::works"]).unwrap();
        self.view
            .read_until(&mut self.bystander, |view| view.has("other::works"));
        assert_eq!(self.view.revision, revision);
        other.unregister(&["other::works"]).unwrap();
        self.view
            .read_until(&mut self.bystander, |view| !view.has("other::works"));
        assert!(self.bystander.is_served(), "had something: {had_something}");
        message
    }
}

#[test]
fn a_length_over_the_limit_is_refused_on_its_header() {
    let mut stage = Stage::new();
    let mut offender = stage.offender();
    offender.send(&(1_114_113u32).to_be_bytes());
    let message = stage.closes(offender, "frame_too_large");
    assert!(message.contains("1114112"), "{message}");
}

#[test]
fn a_length_that_no_message_has_is_refused() {
    let mut stage = Stage::new();
    for header in [&[0, 0, 0, 0][..], &[0, 0, 0, 1, 0x90]] {
        let mut offender = stage.offender();
        offender.send(header);
        stage.closes(offender, "protocol_error");
    }
}

#[test]
fn other_protocols_are_told_what_this_port_is() {
    let mut stage = Stage::new();
    for hail in [
        &b"GET /functions HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello?\n",
    ] {
        let mut stranger = stage.stranger();
        stranger.send(hail);
        let message = stage.closes(stranger, "protocol_error");
        assert!(message.contains("Callboard"), "{message}");
    }
}

#[test]
fn malformed_frames_close_their_connection_alone() {
    let mut stage = Stage::new();
    let deep = [vec![0x93, 67, 0], vec![0x91; 100_000], vec![0xc0]].concat();
    let cases: [(&str, &[u8]); 13] = [
        ("reserved byte", &[0x92, 67, 0xc1]),
        ("extension type", &[0x93, 67, 0, 0xd4, 1, 0]),
        ("wrong type of a field", &[0x92, 67, 0xa1, b'x']),
        ("wrong type of the kind", &[0x92, 0xa1, b'x', 0]),
        ("a field is missing", &[0x91, 67]),
        ("no array", &[0x81, 67, 0]),
        ("an empty array, something behind", &[0x90, 0xc0]),
        ("nested too deep", &deep),
        (
            "4 billion elements",
            &[0x94, 1, 1, 0xc2, 0xdd, 255, 255, 255, 255],
        ),
        ("4 billion keys", &[0x93, 67, 0, 0xdf, 255, 255, 255, 255]),
        ("trailing bytes", &[0x92, 67, 0, 0xc0]),
        ("no UTF-8", &[0x93, 67, 0, 0x81, 0xa1, 0xff, 0xc0]),
        (
            "duplicate key",
            &[0x93, 67, 0, 0x82, 0xa1, b'a', 1, 0xa1, b'a', 2],
        ),
    ];
    for (what, body) in cases {
        println!("{what}");
        let mut offender = stage.offender();
        offender.send_body(body);
        stage.closes(offender, "protocol_error");
    }
}

#[test]
fn integers_need_not_be_minimal() {
    let stage = Stage::new();
    let mut client = Client::join(&stage.server.addresses()[0], "worker");
    client.send_body(&[0x92, 0xcd, 0, 67, 0xcf, 0, 0, 0, 0, 0, 0, 0, 0]);
    client.next_where(|message| matches!(message, Message::Pong(_)));
}

#[test]
fn hello_comes_first_and_once() {
    let mut stage = Stage::new();
    let mut early = stage.stranger();
    early.send(&Ping::default().to_frame());
    stage.closes(early, "protocol_error");

    let mut unknown = stage.stranger();
    unknown.send_body(&[0x92, 63, 1]);
    stage.closes(unknown, "protocol_error");

    let mut offender = stage.offender();
    offender.send(&hello("offender", Watch::default()));
    stage.closes(offender, "protocol_error");
}

#[test]
fn a_hello_over_16_kib_is_refused_on_its_header() {
    let mut stage = Stage::new();
    let mut stranger = stage.stranger();
    stranger.send(&16_385u32.to_be_bytes());
    stage.closes(stranger, "protocol_error");
}

#[test]
fn an_unknown_version_is_told_which_are_spoken() {
    let mut stage = Stage::new();
    let mut stranger = stage.stranger();
    let hello = Hello {
        versions: vec![2, 77],
        name: Text("late"),
        namespace: Text("default"),
        ..Hello::default()
    };
    stranger.send(&hello.to_frame());
    let frame = stranger.next();
    let Message::Goodbye(goodbye) = frame.message() else {
        panic!("{:?}", frame.message());
    };
    assert_eq!(goodbye.ext.versions, [1]);
    assert_eq!(goodbye.code.0, "unsupported_version");
    assert!(goodbye.message.contains('1'), "{}", goodbye.message);
    assert!(stage.bystander.is_served());
}

#[test]
fn a_silent_connection_is_closed() {
    let mut stage = Stage::with(Limits {
        hello_timeout: 150,
        ..Limits::default()
    });
    let silent = stage.stranger();
    stage.closes(silent, "hello_timeout");

    let mut slow = stage.stranger();
    slow.send(&hello("slow", Watch::default())[..10]);
    let (code, _) = slow.goodbye();
    assert!(
        matches!(&*code, "hello_timeout" | "frame_timeout"),
        "{code}"
    );
}

#[test]
fn bytes_that_arrive_one_at_a_time_are_as_good_as_any() {
    let stage = Stage::new();
    let mut client = stage.stranger();
    for byte in hello("patient", Watch::default()) {
        client.send(&[byte]);
    }
    assert!(matches!(client.next().message(), Message::Welcome(_)));
    assert!(client.is_served());
}

#[test]
fn single_bytes_do_not_renew_a_frames_time() {
    let mut stage = Stage::with(Limits {
        frame_timeout: 200,
        ..Limits::default()
    });
    let mut offender = stage.offender();
    offender.send(&10_000u32.to_be_bytes());
    // A byte every few milliseconds: far too slow for the frame, never silent.
    let frame = loop {
        match offender.next_within(Duration::from_millis(5)) {
            None => {
                let _ = offender.try_send(&[0x92]);
            }
            Some(Ok(frame)) => break frame,
            Some(Err(end)) => panic!("{end:?} without a word"),
        }
    };
    let Message::Goodbye(goodbye) = frame.message() else {
        panic!("{:?}", frame.message());
    };
    assert_eq!(goodbye.code.0, "frame_timeout");
    stage
        .view
        .read_until(&mut stage.bystander, |view| !view.has("offender::a"));
    assert!(stage.bystander.is_served());
}

#[test]
fn answers_to_no_request_are_dropped() {
    let mut stage = Stage::new();
    let mut offender = stage.offender();
    let outcome = Outcome {
        id: 4711,
        ..Outcome::default()
    };
    let failure = Failure {
        id: 4711,
        code: Text("no"),
        ..Failure::default()
    };
    let cancel = Cancel {
        id: 4711,
        ..Cancel::default()
    };
    offender.send(&outcome.to_frame());
    offender.send(&outcome.to_frame());
    offender.send(&failure.to_frame());
    offender.send(&cancel.to_frame());
    offender.send_body(&[0x91, 0xcd, 3, 0]);
    assert!(offender.is_served());
    assert!(stage.bystander.is_served());
}

#[test]
fn an_unknown_request_is_answered() {
    let stage = Stage::new();
    let mut client = Client::join(&stage.server.addresses()[0], "newer");
    client.send_body(&[0x93, 63, 9, 0xc0]);
    let (code, _) = client.answer(9).unwrap_err();
    assert_eq!(code, "unsupported");
    assert!(client.is_served());
}

#[test]
fn garbage_in_opaque_fields_is_passed_on_untouched() {
    let mut stage = Stage::new();
    let mut client = Client::join(&stage.server.addresses()[0], "worker");
    let garbage: Vec<u8> = (0..=255).rev().collect();
    let mut definition = function("garbage::in");
    definition.request.0 = &garbage;
    definition.response.0 = &[0xc1];
    definition.metadata.0 = &[0xdd, 255, 255, 255, 255];
    client.register_all(vec![definition.clone()]).unwrap();
    let frame = stage
        .bystander
        .next_where(|message| matches!(message, Message::Changes(_)));
    let Message::Changes(changes) = frame.message() else {
        unreachable!()
    };
    assert_eq!(changes.sections.functions.added, [definition]);
}

#[test]
fn a_goodbye_can_be_read_although_more_was_sent_than_was_read() {
    let mut stage = Stage::new();
    let mut offender = stage.offender();
    // Closing a socket with unread input would send RST, and the GOODBYE would be lost with it.
    let mut flood = framed(&[0x92, 67, 0xc1]);
    flood.resize(1_000_000, 0x92);
    let _ = offender.try_send(&flood);
    stage.closes(offender, "protocol_error");
}
