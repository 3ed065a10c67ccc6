//! What the oracle makes of an INVOKE where a caller made its call more than once.

use super::*;

fn attempt(oracle: &mut CallOracle, intent: usize, tick: u64) -> usize {
    oracle.attempt(Attempt {
        intent,
        token: tick,
        namespace: "default".into(),
        worker: 1,
        caller: "caller".into(),
        user: "".into(),
        tick,
        revision: 0,
        deadline: 1_000,
        nobody: false,
        may_be_refused: false,
        cancelled: false,
        over: None,
        refused: false,
        doubtful: false,
        forbidden: Forbidden::No,
        due: None,
    })
}

/// A worker that was sent all that was due to it at `clean` is sent the only intent.
fn invoke(oracle: &mut CallOracle, token: u64, id: u64, clean: u64) {
    let payload = oracle.intents[0].payload.0.clone();
    let (caller, anybody) = ((1, "caller", &b""[..]), |_, _| true);
    oracle.invoked(
        (token, 7, 9, clean),
        id,
        "f",
        &payload,
        caller,
        |_| false,
        anybody,
    );
}

/// An idempotent call whose caller came back and made it again: the first attempt ended at tick 5.
fn made_again() -> (CallOracle, usize, usize) {
    let mut oracle = CallOracle::default();
    oracle.begin(Kind::Call, "f", 0, (false, true, None), 1_000, 0);
    let first = attempt(&mut oracle, 0, 1);
    oracle.close(first, 5, false);
    let second = attempt(&mut oracle, 0, 6);
    (oracle, first, second)
}

#[test]
fn an_invoke_of_the_second_attempt_leaves_the_first_where_it_may_be() {
    let (mut oracle, first, second) = made_again();
    invoke(&mut oracle, 70, 1, 5);
    assert!(oracle.unseen.contains(&first) && !oracle.unseen.contains(&second));
    // A worker that was not yet sent what was due at tick 5 may have it; one that was, has it not.
    assert_eq!(oracle.may_be_at(|_| true, 4), 1);
    assert_eq!(oracle.may_be_at(|_| true, 5), 0);
}

#[test]
fn an_invoke_of_either_attempt_leaves_both_where_they_may_be() {
    let (mut oracle, first, second) = made_again();
    invoke(&mut oracle, 70, 1, 4);
    assert!(oracle.unseen.contains(&first) && oracle.unseen.contains(&second));
    oracle.assert_no_call_waits_in_vain(9, |_, _| true);
}

#[test]
fn the_death_of_the_first_attempts_provider_does_not_move_the_second() {
    let (mut oracle, first, second) = made_again();
    invoke(&mut oracle, 70, 2, 5);
    invoke(&mut oracle, 71, 1, 4);
    assert!(oracle.unseen.is_empty());
    oracle.unsee(0, 71, 1);
    assert!(oracle.unseen.is_empty(), "{first} is over");
    oracle.unsee(0, 70, 2);
    assert!(oracle.unseen.contains(&second));
}
