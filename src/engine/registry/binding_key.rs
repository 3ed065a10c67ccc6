//! The key of a binding on its board: event, function and id, separated by NUL. Names contain no NUL, so the bindings
//! of an event are adjacent, and a prefix of the event's name is a prefix of the key. Parses and joins; checks no name.

/// The key of a binding.
pub(crate) fn binding_key(event: &str, function: &str, id: &str) -> String {
    format!("{event}\0{function}\0{id}")
}

/// The event, the function and the id in a key.
pub(crate) fn split_binding_key(key: &str) -> (&str, &str, &str) {
    let mut parts = key.splitn(3, '\0');
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

/// The prefix that the keys of all bindings of an event share.
pub(crate) fn event_prefix(event: &str) -> String {
    format!("{event}\0")
}

/// A key behind those of all bindings of a function to an event, and before those of other functions.
pub(crate) fn behind_function(event: &str, function: &str) -> String {
    format!("{event}\0{function}\u{1}")
}
