//! However the network cuts a stream of frames into pieces, or joins them, the answers are the same.

use callboard::protocol::{Message, Ping};
use callboard::server::ServerHandle;

use crate::client::{serve, until};
use crate::peer::{
    Greeting, Peer, all, patient, plain, ready_frame, register_frame, unregister_frame,
};
use crate::reader::Reader;

/// All that a short-lived worker says.
fn session() -> Vec<Vec<u8>> {
    vec![
        Greeting::new("worker", &all()).frame(),
        register_frame(1, true, vec![plain("f::a")]),
        register_frame(1, false, vec![plain("f::b"), plain("f::c")]),
        unregister_frame(2, &["f::b"]),
        unregister_frame(3, &["f::b"]),
        register_frame(4, false, vec![plain("bad name")]),
        ready_frame(5),
        Ping::default().to_frame(),
    ]
}

/// What came back: answers by their requests' ids and codes, and the board at the end. Revisions differ
/// with the turns that the bytes came in.
#[derive(Debug, PartialEq)]
struct Answers {
    endings: Vec<(u64, Option<String>)>,
    functions: Vec<String>,
    pongs: u64,
    unsupported: u64,
}

/// Says the session in these pieces, each one read by the engine before the next is sent.
fn say(server: &ServerHandle, pieces: &[&[u8]]) -> Answers {
    let mut peer = Peer::connect(&server.addresses()[0], Reader::new(all()));
    for piece in pieces {
        let read = server.counters().read_bytes;
        peer.send(piece);
        until("the engine reads the piece", || {
            server.counters().read_bytes >= read + piece.len() as u64
        });
    }
    peer.read_until("all answers", |reader| {
        reader.is_synced() && reader.pongs == 1 && reader.endings.len() == 5
    });
    // Nothing else is to come.
    peer.finish();
    peer.read_to_end();
    let reader = &peer.reader;
    let code = |ending: &crate::reader::Ending| ending.clone().err().map(|(code, _)| code);
    let answers = Answers {
        endings: reader
            .endings
            .iter()
            .map(|(id, it)| (*id, code(it)))
            .collect(),
        functions: peer.names().into_iter().map(str::to_owned).collect(),
        pongs: reader.pongs,
        unsupported: reader.unsupported,
    };
    assert_eq!(reader.goodbye, None);
    answers
}

#[test]
fn every_split_into_two_writes_and_none_give_the_same_answers() {
    let server = serve(patient());
    let frames = session();
    let bytes = frames.concat();
    let whole = say(&server, &[&bytes]);
    let code = |code: &str| Some(code.to_owned());
    let endings = [
        None,
        None,
        code("not_registered"),
        code("invalid_name"),
        None,
    ];
    assert_eq!(whole.endings, (1..).zip(endings).collect::<Vec<_>>());
    assert_eq!(whole.functions, ["f::a", "f::c"]);
    for at in 1..bytes.len() {
        let (front, back) = bytes.split_at(at);
        assert_eq!(say(&server, &[front, back]), whole, "split at {at}");
    }
    let by_frame: Vec<&[u8]> = frames.iter().map(|frame| &**frame).collect();
    assert_eq!(say(&server, &by_frame), whole, "frame by frame");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(say(&server, &single), whole, "byte by byte");
}

#[test]
fn a_large_frame_in_any_pieces_is_one_frame() {
    let server = serve(patient());
    let names = crate::peer::numbered("large::", 10_000);
    let frame = register_frame(1, false, names.iter().map(|name| plain(name)).collect());
    assert!(matches!(
        Message::decode(&frame[4..]),
        Ok(Message::Register(_))
    ));
    let mut peer = Peer::join(&server.addresses()[0], "worker", &all());
    for (round, size) in [1009, 65_536, 65_537, frame.len()].into_iter().enumerate() {
        for piece in frame.chunks(size) {
            peer.send(piece);
        }
        peer.reader.endings.remove(&1);
        // The same again is no change.
        assert_eq!(peer.ending(1), Ok(1), "round {round}");
        assert_eq!(peer.names(), names);
    }
}
