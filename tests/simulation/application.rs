//! What a worker's application wants, drawn by lot: to register, bind, call, cast, emit, give up, and their
//! opposites. It asks the worker's link and records its intents with the oracle; it waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use callboard::worker::link::{CallKind, OutgoingCall};
use callboard::worker::{Binding, CallOptions, Function};

use crate::call_oracle::Kind;
use crate::journal::{note, saw};
use crate::rng::Rng;
use crate::worker::{Context, Order, Stage, Tied, Worker};

/// Functions that workers provide. Those with x want to be alone.
const NAMES: [&str; 10] = ["a1", "a2", "a3", "b1", "b2", "b21", "c1", "c2", "x1", "x2"];
const EVENTS: [&str; 3] = ["e1", "e11", "e2"];

/// Functions that come in one batch, larger than a frame of changes.
const BULK: usize = 130;

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
    let bulk = context.rng.one_in(25);
    let names: Vec<String> = if bulk {
        (0..BULK)
            .map(|index| format!("bulk::{}::{index:03}", worker.name))
            .collect()
    } else {
        (0..=context.rng.below(3))
            .map(|_| context.rng.pick(&NAMES).to_owned())
            .collect()
    };
    let long = if bulk {
        600
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

fn unregister(worker: &mut Worker, context: &mut Context<'_>) {
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

fn tie(rng: &mut Rng) -> Tied {
    let id = rng.pick(&["", "", "second"]);
    (
        rng.pick(&EVENTS).to_owned(),
        rng.pick(&NAMES).to_owned(),
        id.to_owned(),
    )
}

fn bind(worker: &mut Worker, context: &mut Context<'_>) {
    let ties: Vec<Tied> = (0..=context.rng.below(2))
        .map(|_| tie(context.rng))
        .collect();
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

fn unbind(worker: &mut Worker, context: &mut Context<'_>) {
    let mut ties: Vec<Tied> = worker
        .bound
        .iter()
        .filter(|_| context.rng.one_in(2))
        .cloned()
        .collect();
    if ties.is_empty() {
        ties.push(tie(context.rng));
    }
    let bindings = ties
        .iter()
        .map(|(event, function, id)| Binding::new(&**event, &**function).with_id(&**id));
    if let Ok(ticket) = worker.link.unbind(bindings.collect()) {
        worker.orders.push((ticket, Order::Unbind(ties)));
    }
}

fn call(worker: &mut Worker, worker_ids: &[u64], context: &mut Context<'_>) {
    let rng = &mut *context.rng;
    let name = match rng.below(30) {
        0 => "nobody's".to_owned(),
        1 => "engine::stats".to_owned(),
        2 => format!("bulk::{}::007", worker.name),
        _ => rng.pick(&NAMES).to_owned(),
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

fn cast(worker: &mut Worker, context: &mut Context<'_>) {
    let name = context.rng.pick(&NAMES);
    let number = context
        .oracle
        .begin(Kind::Cast, name, 5, (false, false, None), 0, context.now);
    let intent = &context.oracle.intents[number];
    // Without a connection nothing is sent; that is what a cast promises.
    let _ = worker.link.cast(name, &intent.payload.0, &intent.headers);
}

fn emit(worker: &mut Worker, context: &mut Context<'_>) {
    let event = context.rng.pick(&EVENTS);
    let timeout = context.rng.between(100_000..3_000_000);
    let number = context.oracle.begin(
        Kind::Event,
        event,
        20,
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

fn give_up(worker: &mut Worker, context: &mut Context<'_>) {
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

/// Makes a call that the oracle knows, with its time, and nothing special but the worker that it is for.
pub(crate) fn call_now(worker: &mut Worker, number: usize, context: &mut Context<'_>) {
    let intent = &context.oracle.intents[number];
    let mut options = CallOptions::new()
        .timeout(Duration::from_micros(intent.timeout))
        .headers_bytes(intent.headers.clone());
    if let Some(id) = intent.pinned {
        options = options.worker(id);
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
