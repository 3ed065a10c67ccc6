//! The message kinds, one struct each, with the fields in the order of the wire. The number of positional fields of
//! a kind is frozen; new fields go into the map after them (`ext`).

use super::code::Executed;
use super::message_macro::messages;
use super::sections::{BindingEntry, BindingKey, Definition, Sections, Watch};
use super::wire::{Bin, Text, wire_map};

/// The protocol version of this implementation. HELLO lists the versions that its sender speaks; the engine picks
/// the highest common one.
pub const VERSION: u64 = 1;

/// Kinds below this are requests: their first field is an id, and each ends with exactly one RESULT or FAILURE with
/// that id. Other kinds are never answered.
pub const FIRST_UNANSWERED_KIND: u64 = 64;

messages! {
    /// Worker to engine: register these functions. A batch is all or nothing, and one revision. It may span several
    /// frames with the same id and `more`, and is applied with the last. Answered with RESULT {revision} or
    /// FAILURE. Registering a function again replaces its definition.
    Register<'a> = 1 { id: u64, more: bool, functions: Vec<Definition<'a>> } ext NoExtensions;

    /// Worker to engine: unregister these functions, all or nothing. Answered like REGISTER.
    Unregister<'a> = 2 { id: u64, names: Vec<Text<'a>> } ext NoExtensions;

    /// Worker to engine, after a takeover: everything is registered again, and what was not confirmed may leave.
    /// Answered with RESULT {revision}. Without a takeover it has no effect.
    Ready = 3 { id: u64 } ext NoExtensions;

    /// Worker to engine: bind functions to events. Answered like REGISTER.
    Bind<'a> = 4 { id: u64, bindings: Vec<BindingEntry<'a>> } ext NoExtensions;

    /// Worker to engine: remove bindings. Answered like REGISTER.
    Unbind<'a> = 5 { id: u64, bindings: Vec<BindingKey<'a>> } ext NoExtensions;

    /// Worker to engine: call a function. Answered with RESULT {payload} or FAILURE.
    Call<'a> = 6 { id: u64, function: Text<'a>, payload: Bin<'a> } ext CallOptions<'a>;

    /// Worker to engine: cast an event to everything bound to it. Answered with RESULT {matched}, unless the id is
    /// 0: then there is no answer, not even a failure.
    Emit<'a> = 7 { id: u64, event: Text<'a>, payload: Bin<'a> } ext EmitOptions<'a>;

    /// Engine to worker: run this function. Answered with RESULT {payload} or FAILURE, exactly once, even after a
    /// cancellation.
    Invoke<'a> = 8 { id: u64, function: Text<'a>, timeout_ms: u64, payload: Bin<'a> }
        ext InvokeOptions<'a>;

    /// The first frame of a connection, from the worker: its identity and what it watches. At most 16 KiB. Answered
    /// with WELCOME, or GOODBYE and the close.
    Hello<'a> = 64 { versions: Vec<u64>, name: Text<'a>, namespace: Text<'a> }
        ext HelloOptions<'a>;

    /// The engine's answer to HELLO.
    Welcome<'a> = 65 {
        version: u64, worker: u64, engine: Text<'a>, epoch: u64, revision: u64, session: Bin<'a>,
        digest: Bin<'a>,
    } ext WelcomeOptions;

    /// Both ways: the last frame; the connection is closed after it.
    Goodbye<'a> = 66 { code: Text<'a>, message: Text<'a> } ext GoodbyeOptions;

    /// Both ways: a heartbeat. From the engine, `revision` is a bookmark: all watched changes up to it were sent.
    /// From a worker it is the revision of its view, 0 if it has none.
    Ping = 67 { revision: u64 } ext NoExtensions;

    /// Both ways: the answer to PING. `revision` as in PING.
    Pong = 68 { revision: u64 } ext NoExtensions;

    /// From a worker: it leaves the board, accepts no new calls and finishes those in flight. From the engine: it
    /// is about to stop, accepts no new calls and sends no more changes.
    Drain = 69 { } ext DrainOptions;

    /// Engine to worker, between RESYNC and SYNCED: a part of the board.
    Snapshot<'a> = 70 { sections: Sections<'a> } ext NoExtensions;

    /// Engine to worker: the view is complete as of `revision`. Ends a snapshot or a resume.
    Synced = 71 { revision: u64 } ext NoExtensions;

    /// Engine to worker: the changes between two revisions. A reader at revision `mine` applies them iff from <=
    /// mine < to. `more`: further parts of the same step follow, to be applied together.
    Changes<'a> = 72 { from: u64, to: u64, more: bool, sections: Sections<'a> } ext NoExtensions;

    /// Engine to worker: discard the view, a snapshot replaces it. The snapshot is built from `revision` on: the
    /// CHANGES after it begin there.
    Resync<'a> = 73 { revision: u64, reason: Text<'a> } ext NoExtensions;

    /// The success of a request. The payload is empty for registry requests.
    Outcome<'a> = 74 { id: u64, payload: Bin<'a> } ext OutcomeOptions;

    /// The failure of a request.
    Failure<'a> = 75 {
        id: u64, code: Text<'a>, message: Text<'a>, retryable: bool, executed: Executed,
    } ext FailureOptions<'a>;

    /// Both ways: the answer to this request (the id of a CALL or INVOKE) is no longer needed.
    Cancel = 76 { id: u64 } ext NoExtensions;

    /// Both ways: a call without an answer, not even a failure.
    Cast<'a> = 77 { function: Text<'a>, payload: Bin<'a> } ext CastOptions<'a>;

    /// Engine to worker: its rights have changed. Functions and bindings that are no longer allowed have left the
    /// board; register and bind everything again to have all that is allowed.
    Rights = 78 { } ext NoExtensions;
}

wire_map! {
    /// A kind without extensions so far; those of a newer peer are skipped.
    NoExtensions {}

    /// Extensions of HELLO.
    HelloOptions<'a> {
        /// What to watch. Absent: all functions. An empty map: nothing.
        watch: Option<Watch<'a>> = "watch",
        /// The token, if the engine requires one.
        token: Option<Text<'a>> = "token",
        /// Session key of the previous connection: take over its session if it still lives.
        session: Option<Bin<'a>> = "session",
        /// Where the view of the previous connection stood.
        resume: Option<Resume<'a>> = "resume",
        /// Calls that this worker accepts at once. Default 1,000.
        capacity: Option<u64> = "capacity",
        /// Its tier: calls go to it only while no provider of a lower tier has room. Default 0, or the lowest that its
        /// principal may ask for.
        tier: Option<u64> = "tier",
        /// Shown with the worker in the section `workers`; at most 4 KiB.
        metadata: Bin<'a> = "metadata",
        /// Name and version of the client library, for logs.
        client: Text<'a> = "client",
    }

    /// A resume point. The engine sends the changes since then, or a snapshot instead.
    Resume<'a> {
        /// Epoch of the previous WELCOME.
        epoch: u64 = "epoch",
        /// Revision of the last applied frame.
        revision: u64 = "revision",
        /// Digest of the previous WELCOME, which identifies sections, prefixes and rights.
        digest: Bin<'a> = "digest",
    }

    /// Extensions of WELCOME.
    WelcomeOptions {
        /// The engine sends PING after this many milliseconds without input from the worker.
        ping_ms: u64 = "ping_ms",
        /// The engine closes after this many milliseconds without input from the worker.
        silence_ms: u64 = "silence_ms",
        /// The engine has just started and workers are still rejoining: for this many milliseconds, keep entries of
        /// the previous view that are missing from the board, marked stale, instead of removing them.
        settling_ms: u64 = "settling_ms",
        /// The view is resumed: CHANGES since the resume point follow instead of a snapshot.
        resumed: bool = "resumed",
        /// This connection took over an existing session; READY is expected.
        taken_over: bool = "taken_over",
        /// The limits that a worker needs to know.
        limits: WorkerLimits = "limits",
    }

    /// The engine's limits that concern a worker.
    WorkerLimits {
        /// Bytes of a frame's body.
        max_frame: u64 = "max_frame",
        /// Bytes of a payload.
        max_payload: u64 = "max_payload",
        /// Functions that one worker may provide.
        max_functions: u64 = "max_functions",
        /// Bytes of description, schemas and metadata of one function.
        max_entry: u64 = "max_entry",
    }

    /// Extensions of GOODBYE.
    GoodbyeOptions {
        /// Reconnect after this many milliseconds; jittered by the engine for each connection.
        retry_after_ms: Option<u64> = "retry_after_ms",
        /// With `unsupported_version`: the versions that the engine speaks.
        versions: Vec<u64> = "versions",
    }

    /// Extensions of DRAIN.
    DrainOptions {
        /// From the engine: reconnect after this many milliseconds, jittered.
        retry_after_ms: Option<u64> = "retry_after_ms",
    }

    /// Extensions of CALL.
    CallOptions<'a> {
        /// Milliseconds until `deadline_exceeded`. Default 30,000.
        timeout_ms: Option<u64> = "timeout_ms",
        /// Park until a provider appears or has free capacity, within the deadline.
        wait: bool = "wait",
        /// The function may run more than once: if its provider dies, retry with the next one.
        idempotent: bool = "idempotent",
        /// Only this provider.
        worker: Option<u64> = "worker",
        /// Passed through, e.g. a `traceparent`; opaque, by convention a MessagePack map.
        headers: Bin<'a> = "headers",
    }

    /// Extensions of EMIT.
    EmitOptions<'a> {
        /// Passed through; opaque, by convention a MessagePack map.
        headers: Bin<'a> = "headers",
    }

    /// Extensions of INVOKE.
    InvokeOptions<'a> {
        /// Worker id of the caller.
        caller: u64 = "caller",
        /// Name of the caller.
        caller_name: Text<'a> = "caller_name",
        /// The headers of the CALL.
        headers: Bin<'a> = "headers",
    }

    /// Extensions of CAST.
    CastOptions<'a> {
        /// Worker id of the caller; set by the engine on the way to the provider.
        caller: u64 = "caller",
        /// Name of the caller; set by the engine on the way to the provider.
        caller_name: Text<'a> = "caller_name",
        /// The event that caused it, if any; set by the engine.
        event: Text<'a> = "event",
        /// Passed through; opaque, by convention a MessagePack map.
        headers: Bin<'a> = "headers",
    }

    /// Extensions of RESULT.
    OutcomeOptions {
        /// For registry requests: the revision that contains the effect. All watched changes up to it were sent
        /// before this frame.
        revision: Option<u64> = "revision",
        /// For EMIT: how many functions are bound to the event.
        matched: Option<u64> = "matched",
    }

    /// Extensions of FAILURE.
    FailureOptions<'a> {
        /// The function itself failed and the engine forwarded its FAILURE; absent: the engine failed the request.
        from_function: bool = "from_function",
        /// Details of the function's failure; opaque.
        details: Bin<'a> = "details",
    }
}
