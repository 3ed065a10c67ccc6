//! The threads that run handlers: a bounded number, begun when they are needed, fed from one bounded
//! queue. It knows neither the connection nor the protocol.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::context::Context;
use super::fault::Fault;
use super::lock::{lock, wait};
use super::service::Handler;
use super::serving::Reply;

/// A handler, to be run once.
pub(super) struct Job {
    pub(super) handler: Handler,
    pub(super) context: Context,
    pub(super) payload: Vec<u8>,
    /// What to answer to; `None` for a cast.
    pub(super) reply: Option<Reply>,
}

/// What the present thread runs, if it is one of a pool's.
#[derive(Clone, Copy)]
struct RunningJob {
    /// Where that pool lies in memory.
    pool: *const Pool,
    is_call: bool,
}

thread_local! {
    static RUNNING_JOB: Cell<Option<RunningJob>> = const { Cell::new(None) };
}

/// What the present thread itself runs for a pool: 0 or 1 of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ThreadJobs {
    pub(super) calls: usize,
    /// Casts included.
    pub(super) jobs: usize,
}

/// Takes what a handler made of a call, or of a cast.
pub(super) type Deliver = Box<dyn Fn(Option<Reply>, Result<Vec<u8>, Fault>) + Send>;

pub(super) struct Pool {
    queue: Mutex<Queue>,
    job_added: Condvar,
    threads: usize,
    /// Jobs that wait at the most.
    max_waiting: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
    started: usize,
    closed: bool,
}

impl Pool {
    /// At most so many threads, and so many jobs that wait for one.
    pub(super) fn new(threads: usize, max_waiting: usize) -> Self {
        Self {
            queue: Mutex::default(),
            job_added: Condvar::new(),
            threads,
            max_waiting,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Has a job run, as soon as a thread is free. It comes back if there is no room, or no thread to be
    /// had. A thread that begins is given what takes its results.
    pub(super) fn push(
        self: &Arc<Self>,
        job: Job,
        deliver: impl FnOnce() -> Deliver,
    ) -> Result<(), Box<Job>> {
        let mut queue = self.queue();
        if queue.closed || queue.jobs.len() >= self.max_waiting {
            return Err(Box::new(job));
        }
        if queue.running + queue.jobs.len() >= queue.started && queue.started < self.threads {
            let (pool, deliver) = (self.clone(), deliver());
            let spawned = thread::Builder::new()
                .name("callboard-serve".to_owned())
                .spawn(move || pool.run(&deliver));
            match spawned {
                Ok(_) => queue.started += 1,
                Err(error) if queue.started == 0 => {
                    log::error!("no thread to serve calls: {error}");
                    return Err(Box::new(job));
                }
                Err(error) => log::warn!("no further thread to serve calls: {error}"),
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.job_added.notify_one();
        Ok(())
    }

    /// Nothing is run any more; what runs may end.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        // What a handler holds may take its time to be dropped.
        drop(jobs);
        self.job_added.notify_all();
    }

    /// Whether nothing runs or waits, casts included, but for what is the present thread's own.
    pub(super) fn is_idle_except(&self, thread_jobs: ThreadJobs) -> bool {
        let queue = self.queue();
        queue.running == thread_jobs.jobs && queue.jobs.is_empty()
    }

    /// What the present thread runs for this pool. A handler that waited for all would wait for itself.
    pub(super) fn thread_jobs(&self) -> ThreadJobs {
        match RUNNING_JOB.get() {
            Some(running) if std::ptr::eq(running.pool, self) => ThreadJobs {
                calls: usize::from(running.is_call),
                jobs: 1,
            },
            _ => ThreadJobs::default(),
        }
    }

    fn run(&self, deliver: &Deliver) {
        loop {
            let mut queue = self.queue();
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue = wait(&self.job_added, queue);
            };
            queue.running += 1;
            drop(queue);
            let reply = job.reply;
            RUNNING_JOB.set(Some(RunningJob {
                pool: self,
                is_call: reply.is_some(),
            }));
            let result = run_job(&job);
            // The handler's own things first: who has the answer may rely on their being gone.
            drop(job);
            RUNNING_JOB.set(None);
            self.queue().running -= 1;
            deliver(reply, result);
        }
    }
}

fn run_job(job: &Job) -> Result<Vec<u8>, Fault> {
    let run = || job.handler.run(&job.context, &job.payload);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic_message(&*panic);
        let name = job.context.function().escape_debug();
        log::error!("the handler of `{name}` panicked: {message}");
        Err(Fault::new("handler_panicked", message))
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
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
