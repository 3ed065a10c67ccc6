//! What must have occurred over the fixed seeds: a simulation that never comes into a state proves nothing
//! about it.

use crate::journal::Tally;

const ALL: &[&str] = &[
    "a call found nobody",
    "a call had its function's own error",
    "a call had its result",
    "a call met a worker without a handler",
    "a call that waited for a provider was served",
    "a call was cancelled",
    "a call was given up",
    "a call was lost with its connection",
    "a call was refused for want of room",
    "a call's deadline passed",
    "a call's right was lost while it waited",
    "a caller did not read its answers",
    "a cast was delivered",
    "a cast was run",
    "a cast was forbidden",
    "a connection was refused",
    "a draining engine ended a call",
    "a frame was not completed in time",
    "a newcomer did not say READY in time",
    "a provider answered twice",
    "a provider came before those of higher tiers",
    "a provider went before it answered",
    "a request was forbidden",
    "a reader took nothing for too long",
    "a registration met the end of the engine",
    "a session was taken over",
    "a snapshot after the engine's restart",
    "a snapshot because the log was trimmed",
    "a snapshot because the rights changed",
    "a snapshot because the rights had changed meanwhile",
    "a snapshot for who joined",
    "a step came in parts",
    "a stranger broke the protocol",
    "a takeover was confirmed whole",
    "a view was resumed",
    "a worker drained",
    "a worker found a half-open connection",
    "a worker had too many functions",
    "an answer that nobody owed was dropped",
    "an event was delivered",
    "an event was delivered to all",
    "an exclusive function refused a second provider",
    "an idempotent call was given to the next provider",
    "entries were kept as stale while an engine settled",
    "news was left for the next turn",
    "news went out while replies were left for the next turn",
    "one of several providers was of another tier than before",
    "replies were left for the next turn",
    "several revisions came folded",
    "somebody asked for too low a tier",
    "somebody was not let in",
    "somebody's tier became too low",
    "somebody's token was revoked",
    "the engine did not read for a while",
    "the engine found a half-open connection",
    "the engine stood still",
    "the engine was restarted",
    "the engine was told to stop",
    "the engine's own function was called",
    "the library gave a call up",
    "the rights of a connection changed",
    "what did not come back after a restart was removed",
    "what somebody may no longer have left the board",
    "what was not confirmed left the board",
    "what was refused after a reconnect came back",
    "what was registered before was refused after a reconnect",
];

/// What must have occurred where names, entries and metadata are large and readers see a part of them.
const LARGE: &[&str] = &[
    "a joining and a synced reader shared an audience when a step came",
    "a snapshot because the log was trimmed",
    "a snapshot because the rights changed",
    "a step came in parts",
    "a step came in parts to a reader who sees a part",
    "a takeover changed what its worker says of itself",
    "a view was resumed",
    "a worker of more than 16 KiB of names was shown to a reader who sees a part",
    "what was not confirmed left the board",
];

/// What occurs in worlds of other kinds only.
const ELSEWHERE: &[&str] = &[
    "a joining and a synced reader shared an audience when a step came",
    "a step came in parts to a reader who sees a part",
    "a takeover changed what its worker says of itself",
    "a worker of more than 16 KiB of names was shown to a reader who sees a part",
];

/// What must have occurred where turns do little work.
const PACED: &[&str] = &[
    "a step that is larger than a turn stood alone",
    "a user waited for others for a turn",
    "an event ended with its emitter",
    "an event was cast in slices",
    "what is bound to an event changed between its slices",
    "two users wanted the engine all the time",
    "the end of a connection was postponed",
];

/// Too rare to be asked for with so few seeds; each has a test of its own in `tests/core`.
const RARE: &[&str] = &["a HELLO came behind that of the next connection"];

/// Each was seen, and nothing that is not listed.
pub(crate) fn assert_all_seen(seen: &Tally) {
    let missing: Vec<_> = ALL
        .iter()
        .filter(|what| !seen.contains_key(*what))
        .collect();
    assert!(missing.is_empty(), "never occurred: {missing:?}");
    let is_new =
        |what: &&&str| !ALL.contains(what) && !RARE.contains(what) && !ELSEWHERE.contains(what);
    let new: Vec<_> = seen.keys().filter(is_new).collect();
    assert!(new.is_empty(), "not listed: {new:?}");
}

/// The same of worlds with much to show.
pub(crate) fn assert_all_large_seen(seen: &Tally) {
    let missing = LARGE.iter().filter(|what| !seen.contains_key(*what));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "never occurred: {missing:?}");
}

/// The same of worlds whose turns do little work.
pub(crate) fn assert_all_paced_seen(seen: &Tally) {
    let missing = PACED.iter().filter(|what| !seen.contains_key(*what));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "never occurred: {missing:?}");
}
