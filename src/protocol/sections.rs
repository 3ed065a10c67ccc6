//! The board on the wire: entries of the sections `functions`, `workers` and `bindings`, and the watch of a HELLO.

use super::wire::{Bin, Text, wire_map};

wire_map! {
    /// What a connection watches: a list of name prefixes per section. An absent section is not watched, an empty
    /// list matches nothing, the empty prefix matches everything. At most 16 prefixes per section
    /// (`--max-prefixes`).
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
        /// Functions that gained their first provider.
        added: Vec<Definition<'a>> = "added",
        /// Functions whose entry changed, in full.
        updated: Vec<Definition<'a>> = "updated",
    }

    /// A worker with functions or bindings, or a part of its changes.
    WorkerEntry<'a> {
        /// Its id, never reused within an epoch.
        id: u64 = "id",
        /// From its HELLO; not necessarily unique.
        name: Text<'a> = "name",
        /// From its HELLO; opaque, by convention a MessagePack map. Absent if it is as it was, or is empty.
        metadata: Option<Bin<'a>> = "metadata",
        /// Functions it provides now and did not before.
        added: Vec<Text<'a>> = "added",
        /// Functions it no longer provides.
        removed: Vec<Text<'a>> = "removed",
    }

    /// A worker that left the section.
    WorkerKey<'a> {
        /// Its id.
        id: u64 = "id",
        /// Its name, so that the removal is readable on its own.
        name: Text<'a> = "name",
    }

    /// Changes to the section `workers`. A reader takes `removed`, then `added`, then `updated`, each in its order:
    /// a worker with many functions arrives as one `added` and several `updated`.
    WorkerSection<'a> {
        /// Workers without functions and bindings now.
        removed: Vec<WorkerKey<'a>> = "removed",
        /// Workers that gained their first function or binding.
        added: Vec<WorkerEntry<'a>> = "added",
        /// Changes of known workers.
        updated: Vec<WorkerEntry<'a>> = "updated",
    }

    /// A binding of a function to an event.
    BindingEntry<'a> {
        /// The event's name, with the grammar of function names.
        event: Text<'a> = "event",
        /// The function that the event is cast to.
        function: Text<'a> = "function",
        /// Distinguishes bindings of one function to one event.
        id: Text<'a> = "id",
        /// Configuration for the event's source, such as a schedule or a route; opaque, by convention a MessagePack
        /// map.
        config: Bin<'a> = "config",
        /// Cast the event to every provider instead of one.
        deliver_all: bool = "deliver_all",
    }

    /// The key of a binding.
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
        /// Bindings made by their first worker.
        added: Vec<BindingEntry<'a>> = "added",
        /// Bindings whose entry changed, in full.
        updated: Vec<BindingEntry<'a>> = "updated",
    }

    /// The sections of a SNAPSHOT chunk or a CHANGES frame. A snapshot has `added` only.
    Sections<'a> {
        /// Functions.
        functions: FunctionSection<'a> = "functions",
        /// Workers and their functions.
        workers: WorkerSection<'a> = "workers",
        /// Bindings.
        bindings: BindingSection<'a> = "bindings",
    }
}
