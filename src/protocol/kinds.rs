//! The message kinds, one struct each: what a frame holds, field by field, in the order of the wire.
//! The number of positional fields of a kind is frozen; a kind grows in the map that comes after
//! them (`ext`).

use super::code::Executed;
use super::message_macro::messages;
use super::sections::{BindingEntry, BindingKey, Definition, Sections, Watch};
use super::wire::{Bin, Text, wire_map};

/// The protocol version spoken here. A HELLO lists the versions its sender speaks; the engine picks
/// the highest that both do.
pub const VERSION: u64 = 1;

/// Kinds below this are requests: their first field is an id, and each ends with exactly one
/// RESULT or FAILURE that carries it. Other kinds are never answered.
pub const FIRST_UNANSWERED_KIND: u64 = 64;

messages! {
    /// Worker to engine: provide these functions. A batch is all or nothing and one revision step.
    /// It may span frames of the same id flagged `more`; it is applied with the last. Answered with
    /// RESULT {revision} or FAILURE. Registering again what one has replaces its definition.
    Register<'a> = 1 { id: u64, more: bool, functions: Vec<Definition<'a>> } ext NoExtensions;

    /// Worker to engine: no longer provide these functions. All or nothing. Answered as REGISTER is.
    Unregister<'a> = 2 { id: u64, names: Vec<Text<'a>> } ext NoExtensions;

    /// Worker to engine, after a takeover: all that I have is registered again; what I did not confirm
    /// may go. Answered with RESULT {revision}. Without a takeover it changes nothing.
    Ready = 3 { id: u64 } ext NoExtensions;

    /// Worker to engine: tie functions to events. Answered as REGISTER is.
    Bind<'a> = 4 { id: u64, bindings: Vec<BindingEntry<'a>> } ext NoExtensions;

    /// Worker to engine: untie them. Answered as REGISTER is.
    Unbind<'a> = 5 { id: u64, bindings: Vec<BindingKey<'a>> } ext NoExtensions;

    /// Worker to engine: call a function. Answered with RESULT {payload} or FAILURE.
    Call<'a> = 6 { id: u64, function: Text<'a>, payload: Bin<'a> } ext CallOptions<'a>;

    /// Worker to engine: cast an event to all that is bound to it. Answered with RESULT {matched},
    /// unless the id is 0: then nothing is answered, not even a failure.
    Emit<'a> = 7 { id: u64, event: Text<'a>, payload: Bin<'a> } ext EmitOptions<'a>;

    /// Engine to worker: run this function. Answered with RESULT {payload} or FAILURE, once,
    /// also when it was cancelled.
    Invoke<'a> = 8 { id: u64, function: Text<'a>, timeout_ms: u64, payload: Bin<'a> }
        ext InvokeOptions<'a>;

    /// The first frame of a connection, from the worker: who I am, what I want to hear of. At most
    /// 16 KiB. Answered with WELCOME, or GOODBYE and the close.
    Hello<'a> = 64 { versions: Vec<u64>, name: Text<'a>, namespace: Text<'a> }
        ext HelloOptions<'a>;

    /// The engine's answer to HELLO.
    Welcome<'a> = 65 {
        version: u64, worker: u64, engine: Text<'a>, epoch: u64, revision: u64, session: Bin<'a>,
        digest: Bin<'a>,
    } ext WelcomeOptions;

    /// Both ways: the last frame; the connection is closed after it.
    Goodbye<'a> = 66 { code: Text<'a>, message: Text<'a> } ext GoodbyeOptions;

    /// Both ways: are you there? From the engine, `revision` is a bookmark: all changes up to it that
    /// the watch covers have been sent. From a worker it is the revision of its view, 0 if it has none.
    Ping = 67 { revision: u64 } ext NoExtensions;

    /// Both ways: I am. `revision` as in PING.
    Pong = 68 { revision: u64 } ext NoExtensions;

    /// From a worker: no new calls please; I leave the board and finish what I have. From the engine:
    /// it is about to stop; no new calls are taken, no changes are sent any more.
    Drain = 69 { } ext DrainOptions;

    /// Engine to worker, between RESYNC and SYNCED: a part of the board.
    Snapshot<'a> = 70 { sections: Sections<'a> } ext NoExtensions;

    /// Engine to worker: the view is complete as of `revision`; ends a snapshot or a resume.
    Synced = 71 { revision: u64 } ext NoExtensions;

    /// Engine to worker: what changed between two revisions. A reader at revision `mine` applies it
    /// iff from <= mine < to. `more`: further parts of the same step follow; apply them together.
    Changes<'a> = 72 { from: u64, to: u64, more: bool, sections: Sections<'a> } ext NoExtensions;

    /// Engine to worker: forget your view, a snapshot that replaces it follows. It is built up from
    /// `revision` on: the CHANGES after it begin there.
    Resync<'a> = 73 { revision: u64, reason: Text<'a> } ext NoExtensions;

    /// The good end of a request. The payload is empty for requests of the registry.
    Outcome<'a> = 74 { id: u64, payload: Bin<'a> } ext OutcomeOptions;

    /// The bad end of a request.
    Failure<'a> = 75 {
        id: u64, code: Text<'a>, message: Text<'a>, retryable: bool, executed: Executed,
    } ext FailureOptions<'a>;

    /// Both ways: the answer to this request (a CALL's id, an INVOKE's id) is of no use any more.
    Cancel = 76 { id: u64 } ext NoExtensions;

    /// Both ways: a call that is never answered, not even with a failure.
    Cast<'a> = 77 { function: Text<'a>, payload: Bin<'a> } ext CastOptions<'a>;

    /// Engine to worker: what it may register or bind is not what it was. What it may no longer have has
    /// left the board; if it registers and binds again what it wants, all that it may have is there.
    Rights = 78 { } ext NoExtensions;
}

wire_map! {
    /// A kind without extensions of its own yet; what a newer peer adds is skipped.
    NoExtensions {}

    /// Extensions of HELLO.
    HelloOptions<'a> {
        /// What to be told about. Absent: all functions. An empty map: nothing.
        watch: Option<Watch<'a>> = "watch",
        /// The credential, where the engine wants one.
        token: Option<Text<'a>> = "token",
        /// The session key of the connection before: take that session over if it still lives.
        session: Option<Bin<'a>> = "session",
        /// Where the view of the connection before stood.
        resume: Option<Resume<'a>> = "resume",
        /// Calls that this worker takes at once. Default 1,000.
        capacity: Option<u64> = "capacity",
        /// Shown with the worker in the section `workers`; at most 4 KiB.
        metadata: Bin<'a> = "metadata",
        /// Name and version of the client library, for logs.
        client: Text<'a> = "client",
    }

    /// Where a view stood. The engine sends what changed since, or a snapshot that replaces it.
    Resume<'a> {
        /// Of the WELCOME before.
        epoch: u64 = "epoch",
        /// Of the last frame applied.
        revision: u64 = "revision",
        /// Of the WELCOME before: stands for sections, prefixes and rights.
        digest: Bin<'a> = "digest",
    }

    /// Extensions of WELCOME.
    WelcomeOptions {
        /// The engine sends a PING after this many milliseconds without a byte from the worker.
        ping_ms: u64 = "ping_ms",
        /// The engine closes after this many milliseconds without a byte from the worker.
        silence_ms: u64 = "silence_ms",
        /// The engine started a moment ago and is still being rejoined: for so many milliseconds, what
        /// the view before had and this board lacks is better kept, marked stale, than called removed.
        settling_ms: u64 = "settling_ms",
        /// The view is resumed: CHANGES since the resume point follow, no snapshot.
        resumed: bool = "resumed",
        /// This connection took over an older one's session; READY is expected.
        taken_over: bool = "taken_over",
        /// Limits a worker has to know.
        limits: WorkerLimits = "limits",
    }

    /// The engine's limits, as far as a worker can meet them.
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
        /// Come back after so many milliseconds: jittered by the engine, different for each connection.
        retry_after_ms: Option<u64> = "retry_after_ms",
        /// With `unsupported_version`: the versions that the engine speaks.
        versions: Vec<u64> = "versions",
    }

    /// Extensions of DRAIN.
    DrainOptions {
        /// From the engine: come back after so many milliseconds, jittered.
        retry_after_ms: Option<u64> = "retry_after_ms",
    }

    /// Extensions of CALL.
    CallOptions<'a> {
        /// Milliseconds until `deadline_exceeded`. Default 30,000.
        timeout_ms: Option<u64> = "timeout_ms",
        /// Park until a provider appears or has room, within the deadline.
        wait: bool = "wait",
        /// The function may run more than once: on a provider's death, try the next by yourself.
        idempotent: bool = "idempotent",
        /// This provider, no other.
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
        /// As the CALL gave them.
        headers: Bin<'a> = "headers",
    }

    /// Extensions of CAST.
    CastOptions<'a> {
        /// Worker id of the caller; set by the engine on the way to the provider.
        caller: u64 = "caller",
        /// Name of the caller; set by the engine on the way to the provider.
        caller_name: Text<'a> = "caller_name",
        /// The event that caused it, if one did; set by the engine.
        event: Text<'a> = "event",
        /// Passed through; opaque, by convention a MessagePack map.
        headers: Bin<'a> = "headers",
    }

    /// Extensions of RESULT.
    OutcomeOptions {
        /// For requests of the registry: the revision that holds the effect. All changes up to it that
        /// the watch covers were sent before this frame.
        revision: Option<u64> = "revision",
        /// For EMIT: how many functions are bound to the event.
        matched: Option<u64> = "matched",
    }

    /// Extensions of FAILURE.
    FailureOptions<'a> {
        /// The function itself failed (the engine passed its FAILURE on); absent: the engine speaks.
        from_function: bool = "from_function",
        /// What the function wants to say beyond the message; opaque.
        details: Bin<'a> = "details",
    }
}
