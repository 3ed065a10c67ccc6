//! Calls without a caller: what a provider that holds some of them may still be given.

use callboard::limits::Limits;
use callboard::protocol::{CallOptions, Executed};

use crate::calls::{failed, invoked};
use crate::setup::nothing;
use crate::world::World;

#[test]
fn while_too_many_calls_are_abandoned_each_provider_of_one_is_passed_over_and_no_other() {
    let mut world = World::new(Limits {
        max_calls_total: 4,
        ..Limits::default()
    });
    let [three, one, none] = ["three", "one", "none"].map(|name| world.provider(&[name], 100));
    let caller = world.join("c", &nothing());
    let call = |world: &mut World, name| {
        let call = world.call(caller, name, b"", CallOptions::default());
        world.turn();
        call
    };
    // Each has had a call, and holds none of those.
    for (link, name) in [(three, "three"), (one, "one"), (none, "none")] {
        call(&mut world, name);
        world.answer(link, invoked(&world, link)[0], b"");
        world.turn();
    }
    for name in ["three", "three", "three", "one"] {
        let abandoned = call(&mut world, name);
        world.cancel(caller, abandoned);
        world.turn();
    }
    assert_eq!(world.engine.stats().limited["max-calls-total"], 1);
    for (name, is_refused) in [("three", true), ("one", true), ("none", false)] {
        let call = call(&mut world, name);
        let ending = world.call_ending(caller, call);
        assert_eq!(ending.is_some(), is_refused, "{name}");
        if is_refused {
            assert_eq!(
                failed(&world, caller, call),
                ("overloaded", Executed::No),
                "{name}"
            );
        }
    }
    assert_eq!(invoked(&world, none).len(), 2);
}
