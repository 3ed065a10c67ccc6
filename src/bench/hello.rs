//! Makes the HELLO of a bench's connections.

use std::fmt;
use std::sync::Arc;

use crate::protocol::{Hello, HelloOptions, Text, VERSION, Watch};

/// Calls that a connection accepts at once; the engine's own limit is lower.
const CAPACITY: u64 = 1 << 20;

/// The identity of a bench's connections.
#[derive(Clone)]
pub struct HelloConfig {
    /// Name of the worker on the board.
    pub name: String,
    /// The namespace; empty for that of the token.
    pub namespace: String,
    /// The token, if the engine requires one.
    pub token: Option<Arc<str>>,
}

/// Omits the token.
impl fmt::Debug for HelloConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greeting")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl HelloConfig {
    /// A HELLO that watches all functions, like the default of workers, or nothing.
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
                token: self.token.as_deref().map(Text),
                capacity: Some(CAPACITY),
                client: Text(concat!("callboard-bench ", env!("CARGO_PKG_VERSION"))),
                ..HelloOptions::default()
            },
        };
        hello.to_frame()
    }
}
