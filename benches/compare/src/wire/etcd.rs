//! etcd's API, version 3, as much of it as putting, watching and reading a range take. gRPC is spoken directly and
//! not by a library, so that etcd's watchers are read by the same loop as everybody else's. The messages are those
//! of `rpc.proto`, with the fields that are used; the numbers are the wire's.

use prost::Message;

use super::http2;
use super::{DIGITS, FRAME, Fault, News, number_at_end};

const PREFIX: &str = "board/";
/// The first key behind all that begin with [`PREFIX`].
const PREFIX_END: &str = "board0";

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Bytes around a value in what a watcher gets: the heads of HTTP/2 and gRPC; the cluster, its member, term and
/// revision; the key and its revisions.
const ENVELOPE: usize = 72;

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    more: bool,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    /// One of several; the others are not used.
    #[prost(message, optional, tag = "1")]
    create: Option<WatchCreate>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchCreate {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(bool, tag = "4")]
    canceled: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// 0 is a put, 1 a removal.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

/// The streams of a connection have odd numbers.
pub(super) const FIRST_STREAM: u32 = 1;
pub(super) const SECOND_STREAM: u32 = 3;

fn add_watch(out: &mut Vec<u8>) {
    let create = WatchCreate {
        key: PREFIX.into(),
        range_end: PREFIX_END.into(),
    };
    let request = WatchRequest {
        create: Some(create),
    };
    http2::request(FIRST_STREAM, WATCH, &request.encode_to_vec(), false, out);
}

/// Watches the board from now on.
pub(super) fn watch() -> Vec<u8> {
    let mut out = Vec::new();
    http2::open(&mut out);
    add_watch(&mut out);
    out
}

/// Watches the board, and reads all that there is.
pub(crate) fn join() -> Vec<u8> {
    let mut out = watch();
    add_range(PREFIX, PREFIX_END, SECOND_STREAM, &mut out);
    out
}

fn add_range(from: &str, to: &str, stream: u32, out: &mut Vec<u8>) {
    let request = RangeRequest {
        key: from.into(),
        range_end: to.into(),
    };
    http2::request(stream, RANGE, &request.encode_to_vec(), true, out);
}

/// Opens a connection, and reads nothing from the store to see that it is open.
pub(super) fn greet() -> Vec<u8> {
    let mut out = Vec::new();
    http2::open(&mut out);
    add_range("nothing", "", FIRST_STREAM, &mut out);
    out
}

pub(super) fn publish(number: u64, out: &mut Vec<u8>) {
    put(number, &".".repeat(FRAME - ENVELOPE), out);
}

/// Puts a value under a number's key. A publisher's first stream was its greeting.
pub(crate) fn put(number: u64, value: &str, out: &mut Vec<u8>) {
    let put = PutRequest {
        key: format!("{PREFIX}{number:0DIGITS$}").into_bytes(),
        value: value.into(),
    };
    let stream = FIRST_STREAM + 2 * number as u32;
    http2::request(stream, PUT, &put.encode_to_vec(), true, out);
}

#[derive(Default)]
pub(crate) struct Reader {
    http2: http2::Reader,
    is_watching: bool,
    is_greeted: bool,
}

impl Reader {
    /// One who only watches, and one who publishes.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        answers: &mut Vec<u8>,
        news: &mut dyn FnMut(News) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Self {
            http2,
            is_watching,
            is_greeted,
        } = self;
        http2.read(bytes, answers, |stream, message| {
            if stream != FIRST_STREAM {
                return news(News::Done);
            }
            // What answers a greeting is a range without keys, which reads as a watch's answer that says nothing.
            let response = watched(message)?;
            if response.created {
                *is_watching = true;
                return news(News::Ready);
            }
            if !*is_watching {
                if std::mem::replace(is_greeted, true) {
                    return Err("a second answer to the greeting".to_owned());
                }
                return news(News::Ready);
            }
            for event in response.events {
                let key = event.kv.ok_or("an event without a key")?.key;
                let number = number_at_end(&key)?;
                news(match event.kind {
                    0 => News::Entry(number),
                    _ => News::Gone(number),
                })?;
            }
            Ok(())
        })
    }

    /// One who [`join`]s: entries are those of the range, ready is said twice.
    pub(crate) fn read_join(
        &mut self,
        bytes: &[u8],
        answers: &mut Vec<u8>,
        news: &mut dyn FnMut(News) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.http2.read(bytes, answers, |stream, message| {
            if stream == FIRST_STREAM {
                return match watched(message)?.created {
                    true => news(News::Ready),
                    false => Err("an event while nothing changed".to_owned()),
                };
            }
            let range = RangeResponse::decode(message).map_err(|error| error.to_string())?;
            if range.more {
                return Err("a part of the range".to_owned());
            }
            for kv in range.kvs {
                news(News::Entry(number_at_end(&kv.key)?))?;
            }
            news(News::Ready)
        })
    }
}

fn watched(message: &[u8]) -> Result<WatchResponse, Fault> {
    let response = WatchResponse::decode(message).map_err(|error| error.to_string())?;
    if response.canceled {
        return Err("the watch was cancelled".to_owned());
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::super::Tongue;
    use super::super::tests::in_pieces;
    use super::*;

    fn kv(number: u64) -> KeyValue {
        KeyValue {
            key: format!("{PREFIX}{number:0DIGITS$}").into_bytes(),
            value: b"....".to_vec(),
        }
    }

    fn put_event(number: u64) -> Event {
        Event {
            kind: 0,
            kv: Some(kv(number)),
        }
    }

    /// A message in frames as `request` makes them: the reader skips headers.
    fn said(stream: u32, message: &impl Message) -> Vec<u8> {
        let mut out = Vec::new();
        http2::request(stream, "/", &message.encode_to_vec(), false, &mut out);
        out
    }

    #[test]
    fn what_is_put_is_found_in_any_pieces() {
        let created = WatchResponse {
            created: true,
            ..WatchResponse::default()
        };
        let events = WatchResponse {
            events: vec![put_event(7), put_event(8)],
            ..WatchResponse::default()
        };
        let stream = [said(1, &created), said(1, &events)].concat();
        let wanted = [News::Ready, News::Entry(7), News::Entry(8)];
        in_pieces(Tongue::Etcd, &stream, &wanted);
    }

    #[test]
    fn who_publishes_is_greeted_once_and_told_of_each_end() {
        let range = RangeResponse::default();
        let stream = [said(1, &range), said(3, &range), said(5, &range)].concat();
        in_pieces(
            Tongue::Etcd,
            &stream,
            &[News::Ready, News::Done, News::Done],
        );
    }

    #[test]
    fn who_joins_hears_of_all_keys() {
        let created = WatchResponse {
            created: true,
            ..WatchResponse::default()
        };
        let range = RangeResponse {
            kvs: vec![kv(1), kv(2)],
            more: false,
        };
        let stream = [said(SECOND_STREAM, &range), said(1, &created)].concat();
        let (mut reader, mut heard) = (Reader::default(), Vec::new());
        let mut news = |it| {
            heard.push(it);
            Ok(())
        };
        reader
            .read_join(&stream, &mut Vec::new(), &mut news)
            .unwrap();
        let wanted = [News::Entry(1), News::Entry(2), News::Ready, News::Ready];
        assert_eq!(heard, wanted);
    }
}
