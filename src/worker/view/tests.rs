//! The view against hand-made frames, with a clock of its own: gaps, parts, restarted snapshots, and settling after
//! a restart.

use super::*;
use crate::protocol::{Bin, BindingEntry, Definition, Sections, Text, WorkerEntry, WorkerKey};

const SECOND: Duration = Duration::from_secs(1);

fn function(name: &str) -> Definition<'_> {
    described(name, "")
}

fn described<'a>(name: &'a str, description: &'a str) -> Definition<'a> {
    Definition {
        name: Text(name),
        description: Text(description),
        ..Definition::default()
    }
}

fn added<'a>(names: &[&'a str]) -> Sections<'a> {
    let mut sections = Sections::default();
    sections.functions.added = names.iter().map(|name| function(name)).collect();
    sections
}

fn removed<'a>(names: &[&'a str]) -> Sections<'a> {
    let mut sections = Sections::default();
    sections.functions.removed = names.iter().map(|name| Text(name)).collect();
    sections
}

fn updated<'a>(name: &'a str, description: &'a str) -> Sections<'a> {
    let mut sections = Sections::default();
    sections.functions.updated = vec![described(name, description)];
    sections
}

fn worker<'a>(id: u64, name: &'a str, functions: &[&'a str]) -> WorkerEntry<'a> {
    WorkerEntry {
        id,
        name: Text(name),
        added: functions.iter().map(|name| Text(name)).collect(),
        ..WorkerEntry::default()
    }
}

fn origin(epoch: u64) -> Origin {
    Origin {
        epoch,
        digest: Box::from([9; 8]),
    }
}

/// A step, abbreviated: `+a -b ~c` for functions, `>name <name =name` for workers.
fn brief(step: &Step) -> String {
    let words = step.changes.iter().map(|change| match change {
        Change::Added(entry) => format!("+{}", entry.name()),
        Change::Removed(entry) => format!("-{}", entry.name()),
        Change::Updated { new, .. } => format!("~{}", new.name()),
        Change::WorkerJoined(worker) => format!(">{}", worker.name()),
        Change::WorkerLeft(worker) => format!("<{}", worker.name()),
        Change::WorkerUpdated { new, .. } => format!("={}", new.name()),
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn names(view: &View) -> Vec<String> {
    view.with_prefix("")
        .map(|entry| entry.name().to_owned())
        .collect()
}

/// A view of these functions at revision 10 in epoch 1.
fn joined(names: &[&str], now: Instant) -> View {
    let mut view = View::new(true, now);
    join(&mut view, 1, names, Duration::ZERO, now);
    view
}

fn join(
    view: &mut View,
    epoch: u64,
    names: &[&str],
    settling: Duration,
    now: Instant,
) -> Vec<Step> {
    view.welcome(origin(epoch), 7, 10, false, settling, now);
    view.resync(10, "joined", now).unwrap();
    view.snapshot(&added(names)).unwrap();
    view.synced(10, now).unwrap()
}

#[test]
fn a_snapshot_is_seen_when_it_is_whole_and_not_before() {
    let now = Instant::now();
    let mut view = View::new(true, now);
    view.welcome(origin(1), 7, 12, false, Duration::ZERO, now);
    view.resync(10, "joined", now).unwrap();
    view.snapshot(&added(&["a", "b"])).unwrap();
    view.snapshot(&added(&["d"])).unwrap();
    // `c` was in no chunk yet, `d` was added after its chunk was made, and `x` was removed before.
    assert_eq!(view.changes(9, 11, false, &added(&["c", "d"])), Ok(None));
    assert_eq!(view.changes(11, 12, false, &removed(&["a", "x"])), Ok(None));
    assert!(view.is_empty() && !view.is_live() && view.stale_since().is_some());
    let steps = view.synced(12, now).unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!((steps[0].from, steps[0].to), (0, 12));
    assert_eq!(brief(&steps[0]), "+b +c +d");
    assert_eq!(
        steps[0].cause,
        Cause::Replaced {
            reason: "joined".into()
        }
    );
    assert_eq!(
        (view.revision(), view.is_live(), view.stale_since()),
        (12, true, None)
    );
    assert_eq!(view.resume_point(), Some((&origin(1), 12)));
}

#[test]
fn changes_follow_and_tell_what_they_make_different() {
    let now = Instant::now();
    let mut view = joined(&["a", "b"], now);
    let step = view
        .changes(8, 11, false, &updated("a", "new"))
        .unwrap()
        .unwrap();
    assert_eq!((step.from, step.to, brief(&step).as_str()), (10, 11, "~a"));
    let Change::Updated { old, new } = &step.changes[0] else {
        panic!("{step:?}")
    };
    assert_eq!((old.description(), new.description()), ("", "new"));
    // Known changes are ignored, and so is a bookmark of an earlier revision.
    assert_eq!(view.changes(10, 11, false, &removed(&["b"])), Ok(None));
    view.bookmark(5);
    assert_eq!(view.revision(), 11);
    view.bookmark(20);
    let step = view
        .changes(15, 21, false, &removed(&["b"]))
        .unwrap()
        .unwrap();
    assert_eq!((step.from, step.to), (20, 21));
    assert_eq!(names(&view), ["a"]);
}

#[test]
fn a_gap_is_an_error_and_the_view_is_not_resumed_after_it() {
    let now = Instant::now();
    let mut view = joined(&["a"], now);
    let gap = ViewError::Gap {
        mine: 10,
        from: 11,
        to: 12,
    };
    assert_eq!(view.changes(11, 12, false, &added(&["b"])), Err(gap));
    view.distrust();
    view.lose(now);
    assert_eq!(view.resume_point(), None);
    assert_eq!((names(&view), view.revision()), (vec!["a".to_owned()], 10));
    // The answer of the same engine is still a difference.
    let steps = join(&mut view, 1, &["b"], Duration::ZERO, now);
    assert_eq!(
        brief(&steps[0]),
        "-a +b".split(' ').rev().collect::<Vec<_>>().join(" ")
    );
    assert!(view.resume_point().is_some());
    // Gaps are detected during a snapshot too.
    view.resync(20, "log_trimmed", now).unwrap();
    assert!(matches!(
        view.changes(21, 22, false, &added(&[])),
        Err(ViewError::Gap { .. })
    ));
}

#[test]
fn parts_of_a_step_are_seen_together() {
    let now = Instant::now();
    let mut view = joined(&["a"], now);
    assert_eq!(view.changes(10, 11, true, &removed(&["a"])), Ok(None));
    assert_eq!(view.changes(10, 11, true, &added(&["b", "c"])), Ok(None));
    assert_eq!(names(&view), ["a"]);
    view.bookmark(11);
    assert_eq!(view.revision(), 10);
    // Removed in one part and added in another: a net difference.
    let step = view
        .changes(10, 11, false, &added(&["a"]))
        .unwrap()
        .unwrap();
    assert_eq!(brief(&step), "+b +c");
    assert_eq!(view.changes(11, 12, true, &added(&["d"])), Ok(None));
    let torn = ViewError::Torn { unfinished: 12 };
    assert_eq!(
        view.changes(12, 13, false, &added(&["e"])),
        Err(torn.clone())
    );
    assert_eq!(view.synced(13, now), Err(torn));
    view.lose(now);
    assert_eq!(names(&view), ["a", "b", "c"]);
}

#[test]
fn a_step_that_does_not_fit_leaves_no_trace() {
    let now = Instant::now();
    let mut view = joined(&["a", "b"], now);
    for (sections, name) in [
        (added(&["c", "a"]), "a"),
        (removed(&["a", "x"]), "x"),
        (updated("x", ""), "x"),
    ] {
        let name = name.to_owned();
        let error = ViewError::Mismatch { name, revision: 11 };
        assert_eq!(view.changes(10, 11, false, &sections), Err(error));
        assert_eq!(
            (names(&view), view.revision()),
            (vec!["a".to_owned(), "b".to_owned()], 10)
        );
    }
}

#[test]
fn a_resync_in_mid_snapshot_starts_over() {
    let now = Instant::now();
    let mut view = joined(&["a", "b"], now);
    view.resync(20, "log_trimmed", now).unwrap();
    view.snapshot(&added(&["old"])).unwrap();
    assert_eq!(view.changes(20, 21, true, &added(&["half"])), Ok(None));
    view.resync(30, "log_trimmed", now).unwrap();
    view.snapshot(&added(&["b", "c"])).unwrap();
    assert_eq!(names(&view), ["a", "b"]);
    let steps = view.synced(31, now).unwrap();
    assert_eq!((brief(&steps[0]).as_str(), steps[0].to), ("+c -a", 31));
}

#[test]
fn a_snapshot_that_is_cut_off_changes_nothing_and_the_old_view_is_resumed() {
    let now = Instant::now();
    let mut view = joined(&["a"], now);
    view.lose(now);
    view.welcome(origin(2), 7, 5, false, Duration::ZERO, now);
    view.resync(5, "foreign_epoch", now).unwrap();
    view.snapshot(&added(&["b"])).unwrap();
    view.lose(now + SECOND);
    assert_eq!(
        (names(&view), view.resume_point()),
        (vec!["a".to_owned()], Some((&origin(1), 10)))
    );
    assert_eq!(view.stale_since(), Some(now));
}

#[test]
fn a_live_view_that_is_to_be_replaced_is_stale_until_it_is() {
    let now = Instant::now();
    let mut view = joined(&["a"], now);
    let later = now + SECOND;
    view.resync(12, "log_trimmed", later).unwrap();
    assert_eq!((view.is_live(), view.stale_since()), (false, Some(later)));
    assert!(view.get("a").unwrap().is_stale());
    view.snapshot(&added(&["a"])).unwrap();
    view.synced(12, later).unwrap();
    assert_eq!((view.is_live(), view.stale_since()), (true, None));
}

#[test]
fn a_resumed_view_gets_what_it_missed() {
    let now = Instant::now();
    let mut view = joined(&["a", "b"], now);
    view.lose(now);
    assert!(view.get("a").unwrap().is_stale());
    view.welcome(origin(1), 8, 13, true, Duration::ZERO, now);
    let step = view
        .changes(10, 11, false, &removed(&["a"]))
        .unwrap()
        .unwrap();
    assert_eq!((brief(&step).as_str(), step.cause), ("-a", Cause::Pushed));
    // After another loss in the middle, it resumes from there.
    view.lose(now);
    assert_eq!(view.resume_point(), Some((&origin(1), 11)));
    view.welcome(origin(1), 9, 13, true, Duration::ZERO, now);
    assert_eq!(view.synced(13, now), Ok(Vec::new()));
    assert_eq!((view.revision(), view.stale_since()), (13, None));
}

#[test]
fn nothing_comes_unannounced() {
    let now = Instant::now();
    let mut view = View::new(true, now);
    assert_eq!(view.resync(1, "joined", now), Err(ViewError::Unannounced));
    view.welcome(origin(1), 7, 1, false, Duration::ZERO, now);
    assert_eq!(view.snapshot(&added(&[])), Err(ViewError::Unannounced));
    assert_eq!(
        view.changes(0, 1, false, &added(&[])),
        Err(ViewError::Unannounced)
    );
    assert_eq!(view.synced(1, now), Err(ViewError::Unannounced));
    let mut blind = View::new(false, now);
    blind.welcome(origin(1), 7, 1, false, Duration::ZERO, now);
    assert!(blind.is_live());
    assert_eq!(blind.resync(1, "joined", now), Err(ViewError::Unannounced));
    let change = blind.changes(1, 2, false, &added(&["a"]));
    assert_eq!(change, Err(ViewError::Unannounced));
    assert!(blind.is_empty());
}

#[test]
fn after_a_restart_what_is_not_back_yet_stays_stale_until_the_engine_has_settled() {
    let now = Instant::now();
    let mut view = joined(&["a", "b", "c"], now);
    view.lose(now);
    let steps = join(&mut view, 2, &["a"], 3 * SECOND, now + SECOND);
    assert_eq!(steps, []);
    assert_eq!(names(&view), ["a", "b", "c"]);
    let stale: Vec<bool> = view.with_prefix("").map(|entry| entry.is_stale()).collect();
    assert_eq!(stale, [false, true, true]);
    // `b` returned unchanged: no notice. Additions are reported.
    let step = view
        .changes(10, 11, false, &added(&["b", "d"]))
        .unwrap()
        .unwrap();
    assert_eq!(brief(&step), "+d");
    assert_eq!(view.next_deadline(), Some(now + 4 * SECOND));
    assert_eq!(view.settle(now + 3 * SECOND), None);
    let step = view.settle(now + 4 * SECOND).unwrap();
    assert_eq!((brief(&step).as_str(), step.cause), ("-c", Cause::Settled));
    assert_eq!((step.from, step.to), (11, 11));
    assert_eq!(
        (names(&view), view.next_deadline()),
        (vec!["a".into(), "b".into(), "d".into()], None)
    );
}

#[test]
fn what_comes_back_different_after_a_restart_is_an_update() {
    let now = Instant::now();
    let mut view = joined(&["a"], now);
    view.lose(now);
    join(&mut view, 2, &[], 3 * SECOND, now);
    let mut sections = Sections::default();
    sections.functions.added = vec![described("a", "new")];
    let step = view.changes(10, 11, false, &sections).unwrap().unwrap();
    assert_eq!(brief(&step), "~a");
    assert_eq!(view.settle(now + 3 * SECOND), None);
}

#[test]
fn a_restart_that_is_over_is_told_at_once() {
    let now = Instant::now();
    let mut view = joined(&["a", "b"], now);
    view.lose(now);
    let steps = join(&mut view, 2, &["b"], Duration::ZERO, now);
    assert_eq!(brief(&steps[0]), "-a");
    // In the same epoch a snapshot is final, settling or not.
    let steps = join(&mut view, 2, &[], 3 * SECOND, now);
    assert_eq!(brief(&steps[0]), "-b");
}

#[test]
fn bindings_that_a_restarted_engine_lacks_are_gone_when_it_has_settled() {
    for settling in [Duration::ZERO, 3 * SECOND] {
        let mut bound = added(&["f"]);
        bound.bindings.added = vec![BindingEntry {
            event: Text("e"),
            function: Text("f"),
            ..BindingEntry::default()
        }];
        let now = Instant::now();
        let mut view = View::new(true, now);
        view.welcome(origin(1), 7, 10, false, Duration::ZERO, now);
        view.resync(10, "joined", now).unwrap();
        view.snapshot(&bound).unwrap();
        view.synced(10, now).unwrap();
        view.lose(now);
        join(&mut view, 2, &["f"], settling, now);
        assert_eq!(view.bindings().count(), usize::from(!settling.is_zero()));
        view.settle(now + settling);
        assert_eq!(view.bindings().count(), 0);
    }
}

#[test]
fn settling_that_a_second_loss_interrupts_ends_after_the_next_sync() {
    let now = Instant::now();
    let mut view = joined(&["a"], now);
    view.lose(now);
    join(&mut view, 2, &[], 3 * SECOND, now);
    view.lose(now + SECOND);
    assert_eq!(
        (view.next_deadline(), view.settle(now + 5 * SECOND)),
        (None, None)
    );
    view.welcome(origin(2), 7, 10, true, Duration::ZERO, now + 5 * SECOND);
    let steps = view.synced(10, now + 5 * SECOND).unwrap();
    assert_eq!((steps.len(), brief(&steps[0]).as_str()), (1, "-a"));
}

#[test]
fn workers_join_change_and_leave() {
    let now = Instant::now();
    let mut view = View::new(true, now);
    view.welcome(origin(1), 2, 10, false, Duration::ZERO, now);
    view.resync(10, "joined", now).unwrap();
    // A large worker arrives in two chunks.
    let mut chunk = Sections::default();
    chunk.workers.added = vec![worker(1, "w", &["a"])];
    chunk.workers.added[0].metadata = Some(Bin(&[5]));
    view.snapshot(&chunk).unwrap();
    chunk.workers.added = vec![worker(1, "w", &["b"]), worker(2, "me", &["a"])];
    view.snapshot(&chunk).unwrap();
    let steps = view.synced(10, now).unwrap();
    assert_eq!(brief(&steps[0]), ">w >me");
    let workers: Vec<WorkerInfo> = view.workers().collect();
    assert_eq!(workers[0].functions().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        (workers[0].raw_metadata(), workers[0].is_own()),
        (&[5][..], false)
    );
    assert!(workers[1].is_own() && workers[1].provides("a"));

    let mut change = Sections::default();
    change.workers.removed = vec![WorkerKey {
        id: 2,
        name: Text("me"),
    }];
    change.workers.added = vec![worker(3, "new", &["a"])];
    change.workers.updated = vec![worker(3, "new", &["b"]), worker(1, "w", &["c"])];
    change.workers.updated[1].removed = vec![Text("a")];
    let step = view.changes(10, 11, false, &change).unwrap().unwrap();
    assert_eq!(brief(&step), "=w <me >new");
    let Change::WorkerUpdated { added, removed, .. } = &step.changes[0] else {
        panic!("{step:?}")
    };
    assert_eq!(
        (added[..].to_vec(), removed[..].to_vec()),
        (vec!["c".into()], vec!["a".into()])
    );
    // A change that does not fit leaves no trace here either.
    let before = view.to_snapshot();
    for entry in [worker(9, "unknown", &["a"]), worker(1, "w", &["c"])] {
        let mut change = Sections::default();
        change.workers.updated = vec![entry];
        assert!(matches!(
            view.changes(11, 12, false, &change),
            Err(ViewError::Mismatch { .. })
        ));
        assert_eq!(view.to_snapshot(), before);
    }
}

#[test]
fn metadata_stay_until_others_are_told_be_they_none() {
    let mut view = joined(&[], Instant::now());
    let mut told = |metadata: Option<&'static [u8]>, revision: u64| {
        let entry = WorkerEntry {
            metadata: metadata.map(Bin),
            ..worker(7, "w", &[])
        };
        let mut sections = Sections::default();
        match revision {
            11 => sections.workers.added = vec![entry],
            _ => sections.workers.updated = vec![entry],
        }
        view.changes(revision - 1, revision, false, &sections)
            .unwrap();
        view.workers().next().unwrap().raw_metadata().to_vec()
    };
    assert_eq!(told(Some(b"some"), 11), b"some");
    assert_eq!(told(None, 12), b"some");
    assert_eq!(told(Some(b""), 13), b"");
}

#[test]
fn workers_of_a_restarted_engine_are_known_again_by_name() {
    let now = Instant::now();
    let mut view = View::new(true, now);
    let board = |view: &mut View, epoch, settling, workers: Vec<WorkerEntry<'_>>| {
        view.welcome(origin(epoch), 90, 10, false, settling, now);
        view.resync(10, "joined", now).unwrap();
        let mut chunk = Sections::default();
        chunk.workers.added = workers;
        view.snapshot(&chunk).unwrap();
        view.synced(10, now).unwrap()
    };
    let old = vec![
        worker(1, "a", &["f"]),
        worker(2, "b", &["f"]),
        worker(3, "c", &["f"]),
    ];
    board(&mut view, 1, Duration::ZERO, old);
    view.lose(now);
    // Ids start again: 1 is another worker now.
    let steps = board(&mut view, 2, SECOND, vec![worker(1, "b", &["f"])]);
    assert_eq!(brief(&steps[0]), "=b");
    let listed: Vec<_> = view
        .workers()
        .map(|it| (it.name().to_owned(), it.id(), it.is_stale()))
        .collect();
    let want = [("b", 1, false), ("a", 1, true), ("c", 3, true)];
    assert_eq!(
        listed,
        want.map(|(name, id, stale)| (name.to_owned(), id, stale))
    );
    let mut change = Sections::default();
    change.workers.added = vec![worker(2, "c", &["f", "g"])];
    let step = view.changes(10, 11, false, &change).unwrap().unwrap();
    let Change::WorkerUpdated {
        old, new, added, ..
    } = &step.changes[0]
    else {
        panic!("{step:?}")
    };
    assert_eq!((old.id(), new.id(), added.len()), (3, 2, 1));
    assert_eq!(brief(&view.settle(now + SECOND).unwrap()), "<a");
    assert_eq!(view.workers().count(), 2);
}

#[test]
fn what_is_of_another_epoch_is_not_resumed_whatever_the_engine_says() {
    let now = Instant::now();
    let mut view = joined(&["a"], now);
    view.lose(now);
    view.welcome(origin(2), 7, 10, true, Duration::ZERO, now);
    let change = view.changes(10, 11, false, &added(&["b"]));
    assert_eq!(change, Err(ViewError::Unannounced));
    assert_eq!(view.resume_point(), Some((&origin(1), 10)));
}

/// Two workers never share a key, whichever engines the library was connected to.
#[test]
fn workers_of_an_engine_that_is_come_back_to_are_known_again_by_id() {
    let now = Instant::now();
    let mut view = View::new(true, now);
    let board = |view: &mut View, epoch, workers: Vec<WorkerEntry<'_>>| {
        view.welcome(origin(epoch), 90, 10, false, SECOND, now);
        view.resync(10, "joined", now).unwrap();
        let mut chunk = Sections::default();
        chunk.workers.added = workers;
        view.snapshot(&chunk).unwrap();
        let steps = view.synced(10, now).unwrap();
        view.lose(now);
        steps.iter().map(brief).collect::<Vec<_>>()
    };
    let keys = |view: &View| {
        let mut keys: Vec<_> = view.workers().map(|it| it.key()).collect();
        keys.sort_unstable();
        keys
    };
    let old = vec![worker(1, "a", &["f"]), worker(2, "b", &["f"])];
    board(&mut view, 1, old.clone());
    assert_eq!(board(&mut view, 2, vec![]), Vec::<String>::new());
    // One has another name, as after a takeover. The other is unchanged, which is no difference.
    let steps = board(&mut view, 1, vec![worker(1, "x", &["f"]), old[1].clone()]);
    assert_eq!(steps, ["=x"]);
    assert_eq!(keys(&view), [(1, 1), (1, 2)]);

    // A missing worker is known to be gone although the engine is still settling: no later worker can be mistaken
    // for it.
    assert_eq!(board(&mut view, 2, vec![]), Vec::<String>::new());
    assert_eq!(
        board(&mut view, 1, vec![worker(3, "b", &["f"])]),
        [">b <x <b"]
    );
    assert_eq!(keys(&view), [(1, 3)]);
}

#[test]
fn own_functions_are_marked() {
    let now = Instant::now();
    let mut view = joined(&["a", "b"], now);
    view.set_own(&"a".into(), true);
    let own: Vec<bool> = view.with_prefix("").map(|entry| entry.is_own()).collect();
    assert_eq!(own, [true, false]);
    let step = view
        .changes(10, 11, false, &removed(&["a"]))
        .unwrap()
        .unwrap();
    assert!(matches!(&step.changes[0], Change::Removed(entry) if entry.is_own()));
    view.set_own(&"a".into(), false);
    let step = view
        .changes(11, 12, false, &added(&["a"]))
        .unwrap()
        .unwrap();
    assert!(matches!(&step.changes[0], Change::Added(entry) if !entry.is_own()));
}

#[test]
fn prefixes_are_found_in_order() {
    let view = joined(&["a::1", "b::1", "b::2", "b", "c"], Instant::now());
    let found = |prefix: &str| -> Vec<String> {
        view.with_prefix(prefix)
            .map(|entry| entry.name().to_owned())
            .collect()
    };
    assert_eq!(found("b::"), ["b::1", "b::2"]);
    assert_eq!(found("b"), ["b", "b::1", "b::2"]);
    assert_eq!(found("x"), Vec::<String>::new());
    assert_eq!((found("").len(), view.len()), (5, 5));
}
