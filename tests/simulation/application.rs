//! What a worker's application wants, drawn by lot: to register, bind, call, cast, emit, give up, and their
//! opposites. It asks the worker's link and writes its wishes into the book; it waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use callboard::worker::link::{CallKind, OutgoingCall};
use callboard::worker::{Binding, CallOptions, Function};

use crate::book::Kind;
use crate::dice::Dice;
use crate::journal::{note, saw};
use crate::worker::{Order, Scene, Stage, Tied, Worker};

/// Functions that workers provide. Those with x want to be alone.
const NAMES: [&str; 10] = ["a1", "a2", "a3", "b1", "b2", "b21", "c1", "c2", "x1", "x2"];
const EVENTS: [&str; 3] = ["e1", "e11", "e2"];

/// Functions that come in one batch, larger than a frame of changes.
const BULK: usize = 130;

/// One thing, or nothing. `roll`: ids of workers that there are.
pub(crate) fn act(worker: &mut Worker, roll: &[u64], scene: &mut Scene<'_>) {
    if !matches!(worker.stage, Stage::Serving | Stage::Draining) {
        return;
    }
    let provides = worker.stage == Stage::Serving;
    match scene.dice.below(40) {
        0..=6 if provides => register(worker, scene),
        7..=9 if provides => unregister(worker, scene),
        10..=11 if provides => bind(worker, scene),
        12 if provides => unbind(worker, scene),
        13..=27 => call(worker, roll, scene),
        28..=29 => cast(worker, scene),
        30..=31 => emit(worker, scene),
        32..=33 => give_up(worker, scene),
        _ => {}
    }
}

pub(crate) fn register(worker: &mut Worker, scene: &mut Scene<'_>) {
    let bulk = scene.dice.one_in(25);
    let names: Vec<String> = if bulk {
        (0..BULK)
            .map(|index| format!("bulk::{}::{index:03}", worker.name))
            .collect()
    } else {
        (0..=scene.dice.below(3))
            .map(|_| scene.dice.pick(&NAMES).to_owned())
            .collect()
    };
    let long = if bulk {
        600
    } else {
        scene.dice.pick(&[0, 3, 200])
    };
    let version = scene.dice.below(3);
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

fn unregister(worker: &mut Worker, scene: &mut Scene<'_>) {
    let mut names: Vec<String> = worker.wanted.iter().cloned().collect();
    if !scene.dice.one_in(8) {
        names.retain(|_| scene.dice.one_in(3));
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

fn tie(dice: &mut Dice) -> Tied {
    let id = dice.pick(&["", "", "second"]);
    (
        dice.pick(&EVENTS).to_owned(),
        dice.pick(&NAMES).to_owned(),
        id.to_owned(),
    )
}

fn bind(worker: &mut Worker, scene: &mut Scene<'_>) {
    let ties: Vec<Tied> = (0..=scene.dice.below(2)).map(|_| tie(scene.dice)).collect();
    let bindings = ties.iter().map(|(event, function, id)| {
        let config = vec![scene.dice.below(3) as u8];
        let binding = Binding::new(&**event, &**function)
            .with_id(&**id)
            .with_config_bytes(config);
        if scene.dice.one_in(3) {
            binding.deliver_to_all()
        } else {
            binding
        }
    });
    if let Ok(ticket) = worker.link.bind(bindings.collect()) {
        worker.orders.push((ticket, Order::Bind(ties)));
    }
}

fn unbind(worker: &mut Worker, scene: &mut Scene<'_>) {
    let mut ties: Vec<Tied> = worker
        .bound
        .iter()
        .filter(|_| scene.dice.one_in(2))
        .cloned()
        .collect();
    if ties.is_empty() {
        ties.push(tie(scene.dice));
    }
    let bindings = ties
        .iter()
        .map(|(event, function, id)| Binding::new(&**event, &**function).with_id(&**id));
    if let Ok(ticket) = worker.link.unbind(bindings.collect()) {
        worker.orders.push((ticket, Order::Unbind(ties)));
    }
}

fn call(worker: &mut Worker, roll: &[u64], scene: &mut Scene<'_>) {
    let dice = &mut *scene.dice;
    let name = match dice.below(30) {
        0 => "nobody's".to_owned(),
        1 => "engine::stats".to_owned(),
        2 => format!("bulk::{}::007", worker.name),
        _ => dice.pick(&NAMES).to_owned(),
    };
    let timeout = match dice.below(5) {
        0 => dice.between(0..40_000),
        1 => dice.between(100_000..400_000),
        2..=3 => dice.between(500_000..4_000_000),
        _ => 8_000_000,
    };
    let pinned = (dice.one_in(7) && !roll.is_empty()).then(|| dice.pick(roll));
    let (wait, idempotent) = (dice.one_in(2), dice.one_in(2));
    let filler = dice.pick(&[0, 0, 10, 150, 3_000]);
    let builtin = name.starts_with("engine::");
    let filler = if builtin { 0 } else { filler };
    let number = scene.book.begin(
        Kind::Call,
        &name,
        filler,
        (wait, idempotent, pinned),
        timeout,
        scene.now,
    );
    let errand = &mut scene.book.errands[number];
    let mut options = CallOptions::new()
        .timeout(Duration::from_micros(timeout))
        .headers_bytes(errand.headers.clone());
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
        errand.payload.0.clone()
    };
    errand.builtin = builtin;
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
    match worker.link.call(wish, scene.instant()) {
        Ok(ticket) => {
            scene.book.errands[number].taken = worker.taken;
            worker.calls.insert(ticket, number);
        }
        Err(error) => panic!("{}: a call cannot begin: {error}", worker.name),
    }
}

fn cast(worker: &mut Worker, scene: &mut Scene<'_>) {
    let name = scene.dice.pick(&NAMES);
    let number = scene
        .book
        .begin(Kind::Cast, name, 5, (false, false, None), 0, scene.now);
    let errand = &scene.book.errands[number];
    // Without a connection nothing is sent; that is what a cast promises.
    let _ = worker.link.cast(name, &errand.payload.0, &errand.headers);
}

fn emit(worker: &mut Worker, scene: &mut Scene<'_>) {
    let event = scene.dice.pick(&EVENTS);
    let timeout = scene.dice.between(100_000..3_000_000);
    let number = scene.book.begin(
        Kind::Event,
        event,
        20,
        (false, false, None),
        timeout,
        scene.now,
    );
    let errand = &scene.book.errands[number];
    let options = CallOptions::new()
        .timeout(Duration::from_micros(timeout))
        .headers_bytes(errand.headers.clone());
    let wish = OutgoingCall {
        kind: CallKind::Event,
        name: event.into(),
        payload: errand.payload.0.clone(),
        options,
    };
    if let Ok(ticket) = worker.link.call(wish, scene.instant()) {
        scene.book.errands[number].taken = worker.taken;
        worker.calls.insert(ticket, number);
    }
}

fn give_up(worker: &mut Worker, scene: &mut Scene<'_>) {
    if worker.calls.is_empty() {
        return;
    }
    let at = scene.dice.below(worker.calls.len());
    let Some(ticket) = worker.calls.keys().nth(at).copied() else {
        return;
    };
    if let Some(number) = worker.calls.remove(&ticket) {
        note!("{} gives call {number} up", worker.name);
        saw("a call was given up");
        scene.book.errands[number].dropped = true;
        worker.link.forget_call(ticket);
    }
}

/// Makes a call that is in the book, with its time, and nothing special but the worker that it is for.
pub(crate) fn call_now(worker: &mut Worker, number: usize, scene: &mut Scene<'_>) {
    let errand = &scene.book.errands[number];
    let mut options = CallOptions::new()
        .timeout(Duration::from_micros(errand.timeout))
        .headers_bytes(errand.headers.clone());
    if let Some(id) = errand.pinned {
        options = options.worker(id);
    }
    let wish = OutgoingCall {
        kind: CallKind::Function,
        name: (&*errand.name).into(),
        payload: errand.payload.0.clone(),
        options,
    };
    if let Ok(ticket) = worker.link.call(wish, scene.instant()) {
        scene.book.errands[number].taken = worker.taken;
        worker.calls.insert(ticket, number);
    }
}
