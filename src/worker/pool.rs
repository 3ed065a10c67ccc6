//! The threads that run handlers: a bounded number, begun when they are needed, fed from one bounded
//! queue. It knows neither the connection nor the protocol.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::service::Handler;
use super::serving::Reply;
use super::{Context, Fault};

/// A handler, to be run once.
pub(super) struct Job {
    pub(super) handler: Handler,
    pub(super) context: Context,
    pub(super) payload: Vec<u8>,
    /// What to answer to; `None` for a cast.
    pub(super) reply: Option<Reply>,
}

/// Takes what a handler made of a call, or of a cast.
pub(super) type Deliver = Box<dyn Fn(Option<Reply>, Result<Vec<u8>, Fault>) + Send>;

pub(super) struct Pool {
    queue: Mutex<Queue>,
    more: Condvar,
    threads: usize,
    /// Jobs that wait at the most.
    bound: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
    begun: usize,
    over: bool,
}

impl Pool {
    /// At most so many threads, and so many jobs that wait for one.
    pub(super) fn new(threads: usize, bound: usize) -> Self {
        Self {
            queue: Mutex::default(),
            more: Condvar::new(),
            threads,
            bound,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a job run, as soon as a thread is free. It comes back if there is no room, or no thread to be
    /// had. A thread that begins is given what takes its results.
    pub(super) fn push(
        self: &Arc<Self>,
        job: Job,
        deliver: impl FnOnce() -> Deliver,
    ) -> Result<(), Box<Job>> {
        let mut queue = self.queue();
        if queue.over || queue.jobs.len() >= self.bound {
            return Err(Box::new(job));
        }
        if queue.running + queue.jobs.len() >= queue.begun && queue.begun < self.threads {
            let (pool, deliver) = (self.clone(), deliver());
            let spawned = thread::Builder::new()
                .name("callboard-serve".to_owned())
                .spawn(move || pool.run(&deliver));
            match spawned {
                Ok(_) => queue.begun += 1,
                Err(error) if queue.begun == 0 => {
                    log::error!("no thread to serve calls: {error}");
                    return Err(Box::new(job));
                }
                Err(error) => log::warn!("no further thread to serve calls: {error}"),
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.more.notify_one();
        Ok(())
    }

    /// Nothing is run any more; what runs may end.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.over = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        // What a handler holds may take its time to be dropped.
        drop(jobs);
        self.more.notify_all();
    }

    /// Whether nothing runs or waits, casts included.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.queue();
        queue.running == 0 && queue.jobs.is_empty()
    }

    fn run(&self, deliver: &Deliver) {
        loop {
            let mut queue = self.queue();
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.over {
                    return;
                }
                queue = self
                    .more
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            };
            queue.running += 1;
            drop(queue);
            let result = run_one(&job);
            let reply = job.reply;
            // The handler's own things first: who has the answer may rely on their being gone.
            drop(job);
            self.queue().running -= 1;
            deliver(reply, result);
        }
    }
}

fn run_one(job: &Job) -> Result<Vec<u8>, Fault> {
    let run = || job.handler.run(&job.context, &job.payload);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = what_it_said(&*panic);
        let name = job.context.function().escape_debug();
        log::error!("the handler of `{name}` panicked: {message}");
        Err(Fault::new("handler_panicked", message))
    })
}

fn what_it_said(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "it said nothing"
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
