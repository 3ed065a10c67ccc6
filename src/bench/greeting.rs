//! How the connections of a bench say who they are: the one place where a HELLO is made.

use crate::protocol::{Hello, HelloOptions, Text, VERSION, Watch};

/// Calls that a connection takes at once: the engine's own limit is met first.
const CAPACITY: u64 = 1 << 20;

/// See the top of this file.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// What others see as the worker.
    pub name: String,
    /// The board.
    pub namespace: String,
}

impl Greeting {
    /// HELLO of somebody who watches all functions, as workers do unless they say otherwise, or nothing.
    pub(super) fn frame(&self, watching: bool) -> Vec<u8> {
        let watch = Watch {
            functions: watching.then(|| vec![Text("")]),
            ..Watch::default()
        };
        let hello = Hello {
            versions: vec![VERSION],
            name: Text(&self.name),
            namespace: Text(&self.namespace),
            ext: HelloOptions {
                watch: Some(watch),
                capacity: Some(CAPACITY),
                client: Text(concat!("callboard-bench ", env!("CARGO_PKG_VERSION"))),
                ..HelloOptions::default()
            },
        };
        hello.to_frame()
    }
}
