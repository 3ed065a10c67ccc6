//! The transitions of the engine, one file per family of inputs. Everything that changes more than one part of the
//! state is here; the state itself is in the other folders.

mod arguments;
mod backpressure;
mod bind;
#[cfg(debug_assertions)]
mod books;
mod builtin;
mod call;
mod close;
mod completion;
mod events;
mod flush;
mod hello;
mod input;
mod lists;
mod memory;
mod open;
mod parking;
mod quota;
mod register;
mod reload;
mod reply;
mod report;
mod request_id;
mod run;
mod seal;
mod shutdown;
mod timers;
