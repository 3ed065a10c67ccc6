//! How the connections of a bench say who they are: the one place where a HELLO is made.

use std::fmt;
use std::sync::Arc;

use crate::protocol::{Hello, HelloOptions, Text, VERSION, Watch};

/// Calls that a connection takes at once: the engine's own limit is met first.
const CAPACITY: u64 = 1 << 20;

/// See the top of this file.
#[derive(Clone)]
pub struct HelloConfig {
    /// What others see as the worker.
    pub name: String,
    /// The board; empty: that of the token.
    pub namespace: String,
    /// The credential, where the engine wants one.
    pub token: Option<Arc<str>>,
}

/// Without the token.
impl fmt::Debug for HelloConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greeting")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl HelloConfig {
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
                token: self.token.as_deref().map(Text),
                capacity: Some(CAPACITY),
                client: Text(concat!("callboard-bench ", env!("CARGO_PKG_VERSION"))),
                ..HelloOptions::default()
            },
        };
        hello.to_frame()
    }
}
