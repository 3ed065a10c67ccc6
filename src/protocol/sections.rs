//! What is on a board, as it travels: the entries of the sections `functions`, `workers` and
//! `bindings`, and what a HELLO asks to see of them.

use super::wire::{Bin, Text, wire_map};

wire_map! {
    /// What to be told about: a list of name prefixes per section. An absent section is not watched,
    /// an empty list matches nothing, the empty prefix matches everything. At most 16 prefixes a
    /// section (`--max-prefixes`).
    Watch<'a> {
        /// Prefixes of function names.
        functions: Option<Vec<Text<'a>>> = "functions",
        /// Prefixes of worker names.
        workers: Option<Vec<Text<'a>>> = "workers",
        /// Prefixes of event names.
        bindings: Option<Vec<Text<'a>>> = "bindings",
    }

    /// A function as it is registered and as the board shows it. Description, schemas and metadata
    /// together are at most 32 KiB (`--max-entry`).
    Definition<'a> {
        /// 1 to 255 bytes of visible ASCII; by convention `service::function`.
        name: Text<'a> = "name",
        /// For people.
        description: Text<'a> = "description",
        /// Schema of the arguments; opaque, by convention JSON Schema as MessagePack.
        request: Bin<'a> = "request",
        /// Schema of the result; opaque, by convention JSON Schema as MessagePack.
        response: Bin<'a> = "response",
        /// Anything else; opaque, by convention a MessagePack map.
        metadata: Bin<'a> = "metadata",
        /// Refuse a second provider. Default: any number of workers may provide the function.
        exclusive: bool = "exclusive",
    }

    /// Changes to the section `functions`. A reader takes `removed`, then `added`, then `updated`.
    FunctionSection<'a> {
        /// Names whose last provider left.
        removed: Vec<Text<'a>> = "removed",
        /// Functions whose first provider came.
        added: Vec<Definition<'a>> = "added",
        /// Functions that look different now, in full.
        updated: Vec<Definition<'a>> = "updated",
    }

    /// A worker that provides or binds something, or a part of what changed about it.
    WorkerEntry<'a> {
        /// Unique within an epoch, never used again in it.
        id: u64 = "id",
        /// As its HELLO gave it; several workers may bear the same.
        name: Text<'a> = "name",
        /// As its HELLO gave it; opaque, by convention a MessagePack map.
        metadata: Bin<'a> = "metadata",
        /// Functions that it provides now and did not before.
        added: Vec<Text<'a>> = "added",
        /// Functions that it no longer provides.
        removed: Vec<Text<'a>> = "removed",
    }

    /// A worker that left the section.
    WorkerKey<'a> {
        /// Its id.
        id: u64 = "id",
        /// Its name, so that the removal can be read by itself.
        name: Text<'a> = "name",
    }

    /// Changes to the section `workers`. A reader takes `removed`, then `added`, then `updated`, each
    /// list in its order: a worker with many functions comes as one `added` and several `updated`.
    WorkerSection<'a> {
        /// Workers that provide and bind nothing any more.
        removed: Vec<WorkerKey<'a>> = "removed",
        /// Workers that provide or bind something now.
        added: Vec<WorkerEntry<'a>> = "added",
        /// What changed about workers already known.
        updated: Vec<WorkerEntry<'a>> = "updated",
    }

    /// A function tied to an event.
    BindingEntry<'a> {
        /// The event's name, of the same grammar as a function's.
        event: Text<'a> = "event",
        /// The function that the event is cast to.
        function: Text<'a> = "function",
        /// Tells several bindings of one function to one event apart.
        id: Text<'a> = "id",
        /// For the event's source: a schedule, a route; opaque, by convention a MessagePack map.
        config: Bin<'a> = "config",
        /// Cast to every provider, not to one of them.
        deliver_all: bool = "deliver_all",
    }

    /// What names a binding.
    BindingKey<'a> {
        /// See [`BindingEntry::event`].
        event: Text<'a> = "event",
        /// See [`BindingEntry::function`].
        function: Text<'a> = "function",
        /// See [`BindingEntry::id`].
        id: Text<'a> = "id",
    }

    /// Changes to the section `bindings`. A reader takes `removed`, then `added`, then `updated`.
    BindingSection<'a> {
        /// Bindings whose last worker left.
        removed: Vec<BindingKey<'a>> = "removed",
        /// Bindings whose first worker came.
        added: Vec<BindingEntry<'a>> = "added",
        /// Bindings that look different now, in full.
        updated: Vec<BindingEntry<'a>> = "updated",
    }

    /// The sections of a SNAPSHOT chunk or a CHANGES frame. A snapshot has `added` only.
    Sections<'a> {
        /// Functions.
        functions: FunctionSection<'a> = "functions",
        /// Who provides what.
        workers: WorkerSection<'a> = "workers",
        /// Functions tied to events.
        bindings: BindingSection<'a> = "bindings",
    }
}
