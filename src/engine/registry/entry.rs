//! Entries as they stand in frames: encoded once, when they change, and copied from then on. Knows no frame.

use std::rc::Rc;

use serde::Serialize;

/// A name that its users share.
pub(crate) type Name = Rc<str>;

/// Bytes that most entries fit into, so that encoding them allocates once.
const TYPICAL_BYTES: usize = 256;

/// The definition of a function or a binding, encoded as it stands in frames.
#[derive(Debug, Clone)]
pub(crate) struct EncodedDefinition {
    pub(crate) bytes: Rc<[u8]>,
    pub(crate) exclusive: bool,
}

/// The MessagePack encoding of `value`.
pub(crate) fn encode_entry(value: &impl Serialize) -> Rc<[u8]> {
    let mut out = Vec::with_capacity(TYPICAL_BYTES);
    rmp_serde::encode::write(&mut out, value).expect("writing to memory does not fail");
    out.into()
}
