//! The verdicts of the bench that attacks: who decides them, and that the worst row comes first.

use std::time::Duration;

#[path = "../../benches/sockets/attack/verdict.rs"]
mod verdict;

use verdict::{Outcome, aim, order, verdict};

const MS: Duration = Duration::from_millis(1);

fn run(same: bool, p99: u32) -> Outcome {
    Outcome {
        same,
        p99: p99 * MS,
        aim: 10 * MS,
        harmed: 0,
    }
}

#[test]
fn the_aim_grows_with_the_idle_engine_and_with_the_largest_step() {
    assert_eq!(aim(MS, 0), 13 * MS);
    assert_eq!(aim(2 * MS, 5_000), 21 * MS);
}

#[test]
fn another_user_decides_and_the_same_one_does_not() {
    assert_eq!(verdict(&[]), "not measured");
    assert_eq!(verdict(&[run(true, 99)]), "not measured");
    assert_eq!(verdict(&[run(true, 99), run(false, 10)]), "met");
    assert_eq!(verdict(&[run(false, 11), run(false, 1)]), "**late**");
    let harmed = |same| Outcome {
        harmed: 1,
        ..run(same, 1)
    };
    assert_eq!(verdict(&[harmed(true), run(false, 1)]), "met");
    assert_eq!(verdict(&[harmed(false), run(false, 1)]), "**harmed**");
    assert_eq!(
        verdict(&[harmed(false), run(false, 11)]),
        "**late, harmed**"
    );
}

#[test]
fn the_worst_row_comes_first() {
    let mut rows = vec![
        ("mild", vec![run(false, 2), run(true, 90)]),
        ("unknown", vec![run(true, 99)]),
        ("bad", vec![run(false, 3), run(false, 30)]),
        ("worse", vec![run(false, 40)]),
    ];
    order(&mut rows, |(_, runs)| runs.clone());
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["worse", "bad", "mild", "unknown"]);
}
