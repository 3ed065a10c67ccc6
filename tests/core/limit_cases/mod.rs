//! Each limit is met on purpose: the peer that meets it is told which one and by which flag, it is counted, and the
//! others go on as before. A limit without a case here fails the test.

mod counts;
mod in_flight;

use std::collections::BTreeSet;

use callboard::limits::Limits;

use crate::reader::{CallEnding, Reader};
use crate::setup::{functions, nothing};
use crate::world::World;

/// A connection that has said nothing.
pub(crate) fn stranger(world: &mut World) -> usize {
    world.open(Reader::new(nothing()))
}

/// One limit, and how to meet it.
pub(crate) struct Case {
    pub(crate) flag: &'static str,
    /// Sets it, low enough to be met soon, and whatever else the case needs.
    pub(crate) set: fn(&mut Limits),
    /// Meets it, and says how that shows.
    pub(crate) meet: fn(&mut Stage) -> Met,
}

/// How a limit that was met shows.
pub(crate) enum Met {
    /// The connection is closed, with this code.
    Goodbye(usize, &'static str),
    /// The request fails, with this code.
    Failure(usize, u64, &'static str),
    /// The call fails, with this code.
    CallFailure(usize, u64, &'static str),
    /// No peer is told; the case has looked at what happens instead.
    Felt,
    /// It refuses nothing and is not counted; the case has looked at what it does.
    Paced,
    /// It is the engine's end.
    Over,
    /// It is the server's; a test there looks at it: the file, and the test's name.
    Elsewhere(&'static str, &'static str),
}

/// An engine, those who do nothing wrong, and room for those who do.
pub(crate) struct Stage {
    pub(crate) world: World,
    provider: usize,
    caller: usize,
    watcher: usize,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let mut world = World::new(limits);
        let provider = world.join("bystander", &nothing());
        world.register(provider, &["by::f"]);
        let caller = world.join("bystander", &nothing());
        let watcher = world.join("bystander", &functions());
        Self {
            world,
            provider,
            caller,
            watcher,
        }
    }

    /// The bystanders say that they are there.
    pub(crate) fn live_on(&mut self) {
        for link in [self.provider, self.caller, self.watcher] {
            let ping = callboard::protocol::Ping::default();
            self.world.say(link, &ping.to_frame());
        }
        self.world.turn();
    }

    /// Calls, changes and watching work for those who did nothing wrong.
    fn assert_unharmed(&mut self, flag: &str) {
        let world = &mut self.world;
        let options = crate::calls::idempotent();
        let call = world.call(self.caller, "by::f", b"question", options);
        world.turn();
        let invoked = crate::calls::invoked(world, self.provider);
        let asked = invoked.last().copied();
        let asked =
            asked.unwrap_or_else(|| panic!("--{flag}: {:?}", world.call_ending(self.caller, call)));
        world.answer(self.provider, asked, b"answer");
        world.turn();
        let answer = CallEnding::Result(b"answer".to_vec());
        assert_eq!(
            world.call_ending(self.caller, call),
            Some(&answer),
            "--{flag}"
        );
        let id = world.register(self.provider, &["by::new"]);
        world.turn();
        world.turn();
        assert!(world.ending(self.provider, id).is_ok(), "--{flag}");
        let view = &world.reader(self.watcher).view.functions;
        assert!(view.contains_key("by::new"), "--{flag}");
        for link in [self.provider, self.caller, self.watcher] {
            assert_eq!(world.reader(link).goodbye, None, "--{flag}");
        }
    }

    fn assert_told(&self, flag: &str, met: &Met) {
        let world = &self.world;
        let (code, message, want) = match *met {
            Met::Goodbye(link, want) => {
                let goodbye = world.reader(link).goodbye.clone();
                let (code, message, _) = goodbye.unwrap_or_else(|| panic!("--{flag}: no GOODBYE"));
                (code, message, want)
            }
            Met::Failure(link, request, want) => {
                let ending = world.ending(link, request).clone();
                let (code, message) = ending.expect_err(flag);
                (code, message, want)
            }
            Met::CallFailure(link, call, want) => {
                let failure = world.call_failure(link, call);
                (failure.code.clone(), failure.message.clone(), want)
            }
            _ => return,
        };
        assert_eq!(code, want, "--{flag}: {message}");
        assert!(
            message.contains(&format!("--{flag}")),
            "--{flag}: {message}"
        );
    }
}

#[test]
fn every_limit_is_told_by_its_flag_and_counted_and_harms_no_other() {
    let all = || counts::CASES.iter().chain(in_flight::CASES);
    let cases: BTreeSet<_> = all().map(|case| case.flag).collect();
    let flags: BTreeSet<_> = Limits::ALL.iter().map(|spec| spec.flag).collect();
    assert_eq!(cases, flags, "a case for each limit");
    assert_eq!(cases.len(), all().count(), "one case for each");
    for case in all() {
        let flag = case.flag;
        let mut limits = Limits::default();
        (case.set)(&mut limits);
        let mut stage = Stage::new(limits);
        let before = stage.world.engine.stats().limited;
        assert_eq!(before.get(flag), None, "--{flag} was met too early");
        let met = (case.meet)(&mut stage);
        stage.assert_told(flag, &met);
        let counted = stage.world.engine.stats().limited.get(flag).copied();
        match met {
            Met::Paced | Met::Elsewhere(..) => assert_eq!(counted, None, "--{flag}"),
            _ => assert!(counted > Some(0), "--{flag} is not counted"),
        }
        if let Met::Elsewhere(file, test) = met {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let source = std::fs::read_to_string(path).expect(file);
            assert!(source.contains(&format!("fn {test}()")), "--{flag}: {file}");
        }
        if !matches!(met, Met::Over) {
            stage.assert_unharmed(flag);
        }
    }
}
