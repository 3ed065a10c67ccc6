//! What peers may put into the engine's log: names and words full of escapes, line breaks and marks that turn text
//! around. None of it may reach a terminal as such, and no peer may forge a line.

use crate::client::{Client, framed, hello};
use crate::running::Running;
use callboard::address::Address;
use callboard::protocol::{Goodbye, Hello, HelloOptions, Text, Watch};

/// What a terminal obeys, or what makes a line read other than it is.
const NASTY: [&str; 9] = [
    "\u{1b}[2J\u{1b}[31mred",
    "a\n[2026-01-01T00:00:00Z INFO  callboard::engine] forged",
    "a\r\nforged",
    "\u{202e}drawkcab\u{202c}",
    "\u{2066}isolated\u{2069}",
    "\u{9b}31mone byte of an escape",
    "\u{7}\u{8}\u{0}\u{7f}",
    "\u{feff}\u{200b}\u{200f}nothing to see",
    "\u{1b}]0;title\u{7}",
];

fn is_nasty(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{61c}' | '\u{feff}')
}

#[test]
fn what_peers_say_is_harmless_in_the_log() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--log", "trace"];
    let mut engine = Running::start(&arguments);
    let line = engine.error("listening on ");
    let at: Address = line.split("listening on ").nth(1).unwrap().parse().unwrap();
    for (n, nasty) in NASTY.into_iter().enumerate() {
        // As a name, of one who leaves with something, in every way.
        let mut client = Client::join(&at, nasty);
        client.register(&[&format!("nasty::{n}")]).unwrap();
        let bye = Goodbye {
            code: Text(nasty),
            message: Text(nasty),
            ..Goodbye::default()
        };
        client.send(&bye.to_frame());
        assert!(client.next_or_end().is_err());
        let mut cut = Client::join(&at, nasty);
        cut.register(&[&format!("cut::{n}")]).unwrap();
        cut.reset();
        // As a namespace, as a credential of a kind that does not exist, as a prefix.
        let mut elsewhere = Client::connect(&at);
        let hello_there = Hello {
            versions: vec![1],
            name: Text(nasty),
            namespace: Text(nasty),
            ext: HelloOptions {
                watch: Some(Watch {
                    functions: Some(vec![Text(nasty)]),
                    ..Watch::default()
                }),
                ..HelloOptions::default()
            },
        };
        elsewhere.send(&hello_there.to_frame());
        elsewhere.goodbye();
        // Where the decoder might quote what it did not expect: a word in place of a number.
        let mut odd = Client::connect(&at);
        odd.send(&hello("odd", Watch::default()));
        let body = [&[0x92, 67, 0xd9, nasty.len() as u8][..], nasty.as_bytes()];
        odd.send(&framed(&body.concat()));
        assert_eq!(odd.goodbye().0, "protocol_error");
    }
    engine.signal("TERM");
    assert_eq!(engine.wait(), 0);
    let log = engine.all_errors();
    for line in log.lines() {
        assert!(!line.contains(is_nasty), "{line:?}");
        assert!(line.starts_with('['), "a line that nobody wrote: {line:?}");
    }
    // They were there.
    for mark in [
        "drawkcab",
        "isolated",
        "forged",
        "31mone byte",
        "\\u{1b}[2J",
    ] {
        assert!(log.contains(mark), "{mark} is not in the log:\n{log}");
    }
}
