//! Calls in the demo: functions that answer with their provider's name, and their callers. Knows no act.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use callboard::server::ServerHandle;
use callboard::worker::{CallError, CallOptions, Client, Context, Function, Service, Worker};

use super::error::DemoError;
use super::watchers::PATIENCE;

/// How often to check whether the engine has parked a call.
const LOOK: Duration = Duration::from_millis(1);

/// A function that answers with its provider's name.
pub(super) fn signed(provider: &'static str, name: &str, description: &str) -> Service {
    let function = Function::new(name).description(description);
    function.handler(move |_: &Context, (): ()| Ok(provider))
}

/// The providers that answered several calls, and the times.
pub(super) struct Answers {
    by: BTreeMap<String, usize>,
    times: Vec<Duration>,
}

impl Answers {
    /// Makes the calls one after the other.
    pub(super) fn to(caller: &Worker, function: &str, calls: usize) -> Result<Self, DemoError> {
        let client = caller.client();
        let (mut by, mut times) = (BTreeMap::new(), Vec::new());
        for _ in 0..calls {
            let began = Instant::now();
            let who = client.call(function, &()).map_err(DemoError::Call)?;
            times.push(began.elapsed());
            *by.entry(who).or_default() += 1;
        }
        times.sort();
        Ok(Self { by, times })
    }

    /// Fails unless exactly these providers answered.
    pub(super) fn only_by(&self, wanted: &[&str]) -> Result<(), DemoError> {
        if self
            .by
            .keys()
            .map(String::as_str)
            .eq(wanted.iter().copied())
        {
            return Ok(());
        }
        Err(DemoError::OtherAnswer {
            wanted: wanted.join(", "),
            answered: self.shares(),
        })
    }

    /// `audit 3, orders 3`.
    pub(super) fn shares(&self) -> String {
        let shares: Vec<String> = self
            .by
            .iter()
            .map(|(who, calls)| format!("{who} {calls}"))
            .collect();
        shares.join(", ")
    }

    /// The median time of a call.
    pub(super) fn median(&self) -> Duration {
        let middle = self.times.get(self.times.len() / 2);
        middle.copied().unwrap_or_default()
    }
}

/// A call that the engine has parked, because the function has no provider.
pub(super) struct Waiting {
    call: JoinHandle<(Result<String, CallError>, Instant)>,
}

impl Waiting {
    /// Makes the call, and waits until the engine has parked it.
    pub(super) fn begin(
        client: Client,
        function: &'static str,
        engine: &ServerHandle,
    ) -> Result<Self, DemoError> {
        let call = move || {
            let options = CallOptions::new().timeout(2 * PATIENCE).wait();
            let answer = client.call_with(function, &(), &options);
            (answer, Instant::now())
        };
        let call = thread::Builder::new()
            .name("demo-call".to_owned())
            .spawn(call)
            .map_err(DemoError::System)?;
        let deadline = Instant::now() + PATIENCE;
        while engine.stats().is_none_or(|stats| stats.parked == 0) {
            if Instant::now() > deadline {
                return Err(DemoError::Silence {
                    worker: "the engine",
                    awaited: "a call that waits",
                });
            }
            thread::sleep(LOOK);
        }
        Ok(Self { call })
    }

    /// The provider that answered, and when.
    pub(super) fn end(self) -> Result<(String, Instant), DemoError> {
        match self.call.join() {
            Ok((Ok(who), at)) => Ok((who, at)),
            Ok((Err(error), _)) => Err(DemoError::Call(error)),
            Err(_) => Err(DemoError::Silence {
                worker: "the caller",
                awaited: "an answer",
            }),
        }
    }
}

/// The error code with which a call must fail.
pub(super) fn refusal(caller: &Worker, function: &str) -> Result<String, DemoError> {
    match caller.client().call::<String>(function, &()) {
        Err(error) if !error.is_from_function() => Ok(error.code().to_owned()),
        other => Err(DemoError::OtherAnswer {
            wanted: "an error of the engine".to_owned(),
            answered: format!("{other:?}"),
        }),
    }
}
