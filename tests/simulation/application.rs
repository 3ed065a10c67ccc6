//! What a worker's application wants, drawn by lot: to register, bind, call, cast, emit, give up, and their
//! opposites. It asks the worker's link and records its intents with the oracle; it waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use callboard::worker::link::{CallKind, OutgoingCall};
use callboard::worker::{Binding, CallOptions, Function};

use crate::call_oracle::Kind;
use crate::context::Context;
use crate::journal::{note, saw};
use crate::worker::{Order, Stage, Tied, Worker};

/// Functions that workers provide. Those with x want to be alone.
const NAMES: [&str; 10] = ["a1", "a2", "a3", "b1", "b2", "b21", "c1", "c2", "x1", "x2"];
const EVENTS: [&str; 3] = ["e1", "e11", "e2"];

/// Functions that come in one batch, larger than a frame of changes.
const BULK: usize = 130;

/// Bytes of the longest name.
const LONGEST: usize = 255;

/// A name, as long as names are in this world.
pub(crate) fn named(name: &str, are_long: bool) -> String {
    let mut name = name.to_owned();
    if are_long {
        name.extend(std::iter::repeat_n('.', LONGEST - name.len()));
    }
    name
}

/// Sends a worker away.
pub(crate) const KICK: &str = "engine::workers::kick";

/// One thing, or nothing. `worker_ids`: ids of workers that there are.
pub(crate) fn act(worker: &mut Worker, worker_ids: &[u64], context: &mut Context<'_>) {
    if !matches!(worker.stage, Stage::Serving | Stage::Draining) {
        return;
    }
    let provides = worker.stage == Stage::Serving;
    match context.rng.below(40) {
        0..=6 if provides => register(worker, context),
        7..=9 if provides => unregister(worker, context),
        10..=11 if provides => bind(worker, context),
        12 if provides => unbind(worker, context),
        13..=27 => call(worker, worker_ids, context),
        28..=29 => cast(worker, context),
        30..=31 => emit(worker, context),
        32..=33 => give_up(worker, context),
        _ => {}
    }
}

pub(crate) fn register(worker: &mut Worker, context: &mut Context<'_>) {
    let large = context.large;
    let bulk = context.rng.one_in(if large { 6 } else { 25 });
    let names: Vec<String> = if bulk {
        (0..BULK)
            .map(|index| named(&format!("bulk::{}::{index:03}", worker.name), large))
            .collect()
    } else {
        (0..=context.rng.below(3))
            .map(|_| named(context.rng.pick(&NAMES), large))
            .collect()
    };
    let long = if bulk {
        600
    } else if large {
        // The last is near the limit on an entry.
        context.rng.pick(&[0, 200, 20_000, 32_000])
    } else {
        context.rng.pick(&[0, 3, 200])
    };
    let version = context.rng.below(3);
    let functions = names.iter().map(|name| {
        let description = format!("v{version}{}", ".".repeat(long));
        let function = Function::new(&**name)
            .description(description)
            .metadata_bytes(vec![version as u8]);
        if name.starts_with('x') {
            function.exclusive()
        } else {
            function
        }
    });
    if let Ok(ticket) = worker.link.register(functions.collect()) {
        note!("{} registers {} {:?}", worker.name, names.len(), names[0]);
        worker.orders.push((ticket, Order::Register(names)));
    }
}

pub(crate) fn unregister(worker: &mut Worker, context: &mut Context<'_>) {
    let mut names: Vec<String> = worker.wanted.iter().cloned().collect();
    if !context.rng.one_in(8) {
        names.retain(|_| context.rng.one_in(3));
    }
    if names.is_empty() {
        names.push("never".to_owned());
    }
    let shared = names.iter().map(|name| Arc::from(&**name)).collect();
    if let Ok(ticket) = worker.link.unregister(shared) {
        note!("{} unregisters {} {:?}", worker.name, names.len(), names[0]);
        worker.orders.push((ticket, Order::Unregister(names)));
    }
}

fn tie(context: &mut Context<'_>) -> Tied {
    let (rng, large) = (&mut *context.rng, context.large);
    let id = rng.pick(&["", "", "second"]);
    (
        named(rng.pick(&EVENTS), large),
        named(rng.pick(&NAMES), large),
        id.to_owned(),
    )
}

pub(crate) fn bind(worker: &mut Worker, context: &mut Context<'_>) {
    let ties: Vec<Tied> = (0..=context.rng.below(2)).map(|_| tie(context)).collect();
    let bindings = ties.iter().map(|(event, function, id)| {
        let config = vec![context.rng.below(3) as u8];
        let binding = Binding::new(&**event, &**function)
            .with_id(&**id)
            .with_config_bytes(config);
        if context.rng.one_in(3) {
            binding.deliver_to_all()
        } else {
            binding
        }
    });
    if let Ok(ticket) = worker.link.bind(bindings.collect()) {
        worker.orders.push((ticket, Order::Bind(ties)));
    }
}

pub(crate) fn unbind(worker: &mut Worker, context: &mut Context<'_>) {
    let mut ties: Vec<Tied> = worker
        .bound
        .iter()
        .filter(|_| context.rng.one_in(2))
        .cloned()
        .collect();
    if ties.is_empty() {
        ties.push(tie(context));
    }
    let bindings = ties
        .iter()
        .map(|(event, function, id)| Binding::new(&**event, &**function).with_id(&**id));
    if let Ok(ticket) = worker.link.unbind(bindings.collect()) {
        worker.orders.push((ticket, Order::Unbind(ties)));
    }
}

pub(crate) fn call(worker: &mut Worker, worker_ids: &[u64], context: &mut Context<'_>) {
    let (rng, large) = (&mut *context.rng, context.large);
    let name = match rng.below(30) {
        0 => "nobody's".to_owned(),
        1 => "engine::stats".to_owned(),
        2 => named(&format!("bulk::{}::007", worker.name), large),
        _ => named(rng.pick(&NAMES), large),
    };
    let timeout = match rng.below(5) {
        0 => rng.between(0..40_000),
        1 => rng.between(100_000..400_000),
        2..=3 => rng.between(500_000..4_000_000),
        _ => 8_000_000,
    };
    let pinned = (rng.one_in(7) && !worker_ids.is_empty()).then(|| rng.pick(worker_ids));
    let (wait, idempotent) = (rng.one_in(2), rng.one_in(2));
    let filler = rng.pick(&[0, 0, 10, 150, 3_000]);
    let builtin = name.starts_with("engine::");
    let filler = if builtin { 0 } else { filler };
    let number = context.oracle.begin(
        Kind::Call,
        &name,
        filler,
        (wait, idempotent, pinned),
        timeout,
        context.now,
    );
    let intent = &mut context.oracle.intents[number];
    let mut options = CallOptions::new()
        .timeout(Duration::from_micros(timeout))
        .headers_bytes(intent.headers.clone());
    if wait {
        options = options.wait();
    }
    if idempotent {
        options = options.idempotent();
    }
    if let Some(id) = pinned {
        options = options.worker(id);
    }
    let payload = if builtin {
        Vec::new()
    } else {
        intent.payload.0.clone()
    };
    intent.builtin = builtin;
    let wish = OutgoingCall {
        kind: CallKind::Function,
        name: name.as_str().into(),
        payload,
        options,
    };
    note!(
        "{} calls {name}: {number}{}{}",
        worker.name,
        if wait { ", waits" } else { "" },
        if idempotent { ", idempotent" } else { "" }
    );
    match worker.link.call(wish, context.instant()) {
        Ok(ticket) => {
            context.oracle.intents[number].taken = worker.taken;
            worker.calls.insert(ticket, number);
        }
        Err(error) => panic!("{}: a call cannot begin: {error}", worker.name),
    }
}

/// Asks the engine to send a worker away.
pub(crate) fn kick(worker: &mut Worker, id: u64, context: &mut Context<'_>) {
    let mut payload = b"\x81\xa6worker\xcf".to_vec();
    payload.extend(id.to_be_bytes());
    note!("{} kicks worker {id}", worker.name);
    command(worker, KICK, payload, context);
}

pub(crate) fn ask_for_stats(worker: &mut Worker, context: &mut Context<'_>) {
    command(worker, "engine::stats", Vec::new(), context);
}

/// Calls a function of the engine itself.
fn command(worker: &mut Worker, name: &str, payload: Vec<u8>, context: &mut Context<'_>) {
    let options = (false, false, None);
    let number = context
        .oracle
        .begin(Kind::Call, name, 0, options, 8_000_000, context.now);
    context.oracle.intents[number].builtin = true;
    let wish = OutgoingCall {
        kind: CallKind::Function,
        name: name.into(),
        payload,
        options: CallOptions::new().timeout(Duration::from_secs(8)),
    };
    if let Ok(ticket) = worker.link.call(wish, context.instant()) {
        context.oracle.intents[number].taken = worker.taken;
        worker.calls.insert(ticket, number);
    }
}

/// The worker that is to be kicked.
pub(crate) fn kicked(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*payload.last_chunk()?))
}

pub(crate) fn cast(worker: &mut Worker, context: &mut Context<'_>) {
    let name = &*named(context.rng.pick(&NAMES), context.large);
    let number = context
        .oracle
        .begin(Kind::Cast, name, 5, (false, false, None), 0, context.now);
    let intent = &context.oracle.intents[number];
    // Without a connection nothing is sent; that is what a cast promises.
    let _ = worker.link.cast(name, &intent.payload.0, &intent.headers);
}

pub(crate) fn emit(worker: &mut Worker, context: &mut Context<'_>) {
    emit_with(20, worker, context);
}

/// Emits an event of which each delivery takes the engine long.
pub(crate) fn emit_long(worker: &mut Worker, context: &mut Context<'_>) {
    let filler = context.rng.pick(&[1_000, 5_000, 20_000]);
    emit_with(filler, worker, context);
}

fn emit_with(filler: usize, worker: &mut Worker, context: &mut Context<'_>) {
    let event = &*named(context.rng.pick(&EVENTS), context.large);
    let timeout = context.rng.between(100_000..3_000_000);
    let number = context.oracle.begin(
        Kind::Event,
        event,
        filler,
        (false, false, None),
        timeout,
        context.now,
    );
    let intent = &context.oracle.intents[number];
    let options = CallOptions::new()
        .timeout(Duration::from_micros(timeout))
        .headers_bytes(intent.headers.clone());
    let wish = OutgoingCall {
        kind: CallKind::Event,
        name: event.into(),
        payload: intent.payload.0.clone(),
        options,
    };
    if let Ok(ticket) = worker.link.call(wish, context.instant()) {
        context.oracle.intents[number].taken = worker.taken;
        worker.calls.insert(ticket, number);
    }
}

pub(crate) fn give_up(worker: &mut Worker, context: &mut Context<'_>) {
    if worker.calls.is_empty() {
        return;
    }
    let at = context.rng.below(worker.calls.len());
    let Some(ticket) = worker.calls.keys().nth(at).copied() else {
        return;
    };
    if let Some(number) = worker.calls.remove(&ticket) {
        note!("{} gives call {number} up", worker.name);
        saw("a call was given up");
        context.oracle.intents[number].dropped = true;
        worker.link.forget_call(ticket);
    }
}

/// Makes a call that waits for nobody, and not for long.
pub(crate) fn call_in_vain(worker: &mut Worker, context: &mut Context<'_>) {
    let timeout = context.rng.between(1_000..50_000);
    let options = (true, false, None);
    let number = context
        .oracle
        .begin(Kind::Call, "nobody's", 0, options, timeout, context.now);
    call_now(worker, number, context);
}

/// Makes a call that the oracle knows, with its time, and nothing special but the worker that it is for.
pub(crate) fn call_now(worker: &mut Worker, number: usize, context: &mut Context<'_>) {
    let intent = &context.oracle.intents[number];
    let mut options = CallOptions::new()
        .timeout(Duration::from_micros(intent.timeout))
        .headers_bytes(intent.headers.clone());
    if let Some(id) = intent.pinned {
        options = options.worker(id);
    }
    if intent.wait {
        options = options.wait();
    }
    let wish = OutgoingCall {
        kind: CallKind::Function,
        name: (&*intent.name).into(),
        payload: intent.payload.0.clone(),
        options,
    };
    if let Ok(ticket) = worker.link.call(wish, context.instant()) {
        context.oracle.intents[number].taken = worker.taken;
        worker.calls.insert(ticket, number);
    }
}
