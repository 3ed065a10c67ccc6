//! An entry as it stands in frames: encoded once, when it changes, and copied from then on. Knows no frame.

use std::rc::Rc;

use serde::Serialize;

/// Bytes that most entries fit into, so that encoding them moves nothing.
const ROOM: usize = 256;

/// The bytes of `value`.
pub(super) fn encoded(value: &impl Serialize) -> Rc<[u8]> {
    let mut out = Vec::with_capacity(ROOM);
    rmp_serde::encode::write(&mut out, value).expect("writing to memory does not fail");
    out.into()
}
