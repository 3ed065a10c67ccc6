//! Payloads between JSON and MessagePack, both ways, and what is printed of them: nothing is lost, nothing
//! grows beyond measure, and no character that a terminal would obey gets through.

use serde_json::Value;

// The command line's own conversions, which are no part of the library. They depend on nothing but
// each other.
#[path = "../../src/cli/json.rs"]
mod json;
#[path = "../../src/cli/messagepack.rs"]
mod messagepack;
#[path = "../../src/cli/text.rs"]
mod text;

/// One input: as JSON, as MessagePack, and as text.
pub fn run(data: &[u8]) {
    from_json(data);
    from_messagepack(data);
    let lossy = String::from_utf8_lossy(data);
    show(&lossy);
}

/// JSON comes back as it was sent.
fn from_json(data: &[u8]) {
    let Ok(payload) = messagepack::from_bytes(data) else {
        return;
    };
    let text = std::str::from_utf8(data).expect("what is no UTF-8 is no JSON");
    let meant = match text.trim_ascii() {
        "" => Value::Null,
        text => serde_json::from_str(text).expect("it was JSON just now"),
    };
    assert!(depth(&meant) <= json::MAX_DEPTH);
    assert_eq!(json::from_messagepack(&payload), meant);
    let mut rest = &payload[..];
    rmpv::decode::read_value(&mut rest).expect("MessagePack");
    assert!(rest.is_empty());
    check_line(&meant);
}

/// Any bytes can be shown, MessagePack or not; and the text that was shown can be sent.
fn from_messagepack(data: &[u8]) {
    let value = json::from_messagepack(data);
    let line = check_line(&value);
    assert!(
        line.len() <= 16 * data.len() + 1024,
        "{} bytes are shown as {}",
        data.len(),
        line.len()
    );
    let payload = messagepack::from_text(&line).expect("what was shown");
    assert_eq!(json::from_messagepack(&payload), value);
}

/// A value as a line: it is one, it is harmless, it says what it stands for.
fn check_line(value: &Value) -> String {
    let line = json::to_text(value);
    assert!(!line.chars().any(is_obeyed), "{line:?}");
    let back: Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!(back, *value);
    line
}

/// Text from peers as people see it.
fn show(text: &str) {
    let shown = text::visible(text);
    assert!(!shown.chars().any(is_obeyed), "{shown:?}");
    assert_eq!(text::visible(&shown), shown);
    let columns = 1 + text.len() % 40;
    let cut = text::cut(&shown, columns);
    assert!(text::width(&cut) <= columns);
    assert!(!cut.chars().any(is_obeyed));
    assert!(text::width(&text::padded(&cut, columns)) >= columns);
    let names: Vec<&str> = text.split(' ').collect();
    let list = text::shortened(names.iter().copied(), 3);
    assert!(!list.chars().any(is_obeyed), "{list:?}");
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether a terminal would act on this character, or show nothing for it. From the Unicode standard's
/// lists, not from the code that is checked.
fn is_obeyed(c: char) -> bool {
    matches!(c,
        // C0, DEL, C1.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Directions: ALM, LRM and RLM, embeddings and overrides, isolates.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Lines and paragraphs.
        | '\u{2028}' | '\u{2029}'
        // Without width: soft hyphen, spaces, joiners, invisible operators, byte order mark.
        | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{180e}'
        // Tags.
        | '\u{e0000}'..='\u{e007f}'
        // For private use: the font decides how they look.
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}
