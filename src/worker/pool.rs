//! The threads that run handlers: a bounded number, started on demand, with one bounded queue. Knows neither the
//! connection nor the protocol.

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

/// One run of a handler.
pub(super) struct Job {
    pub(super) handler: Handler,
    pub(super) context: Context,
    pub(super) payload: Vec<u8>,
    /// Identifies the call to answer; `None` for a cast.
    pub(super) reply: Option<Reply>,
}

/// The job that the current thread runs, if it belongs to a pool.
#[derive(Clone, Copy)]
struct RunningJob {
    /// Address of that pool.
    pool: *const Pool,
    is_call: bool,
}

thread_local! {
    static RUNNING_JOB: Cell<Option<RunningJob>> = const { Cell::new(None) };
}

/// Jobs that the current thread itself runs for a pool: 0 or 1 of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ThreadJobs {
    pub(super) calls: usize,
    /// Including casts.
    pub(super) jobs: usize,
}

/// Receives the result of a handler.
pub(super) type Deliver = Box<dyn Fn(Option<Reply>, Result<Vec<u8>, Fault>) + Send>;

pub(super) struct Pool {
    queue: Mutex<Queue>,
    job_added: Condvar,
    threads: usize,
    /// The most jobs that may wait.
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
    /// A pool with a maximum of threads and of waiting jobs.
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

    /// Queues a job for the next free thread, and starts a thread if it helps. Returns the job if the queue is full
    /// or no thread could be started. `deliver` makes the receiver of results for a new thread.
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
                    log::error!("cannot start a handler thread: {error}");
                    return Err(Box::new(job));
                }
                Err(error) => log::warn!("cannot start another handler thread: {error}"),
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.job_added.notify_one();
        Ok(())
    }

    /// Runs no further jobs; running ones may finish.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        // Dropping what a handler holds may take a while.
        drop(jobs);
        self.job_added.notify_all();
    }

    /// Whether no job runs or waits, casts included, other than the current thread's own.
    pub(super) fn is_idle_except(&self, thread_jobs: ThreadJobs) -> bool {
        let queue = self.queue();
        queue.running == thread_jobs.jobs && queue.jobs.is_empty()
    }

    /// The jobs that the current thread runs for this pool. A handler must not wait for itself.
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
            // Drop the handler's values first: the caller may rely on that once it has the result.
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
        "no message"
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};
    use std::time::{Duration, Instant};

    use super::super::call_error::CallError;
    use super::super::call_port::CallPort;
    use super::super::client::Client;
    use super::super::function::Function;
    use super::super::invocation::Invocation;
    use super::super::outgoing_call::OutgoingCall;
    use super::super::result_slot::ResultSlot;
    use super::super::ticket::Ticket;
    use super::*;

    /// Longer than any machine takes for anything here.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// The handlers here make no calls.
    #[derive(Debug)]
    struct Offline;

    impl CallPort for Offline {
        fn begin(self: Arc<Self>, _: OutgoingCall) -> Result<(Ticket, Arc<ResultSlot>), CallError> {
            unreachable!()
        }

        fn cast(&self, _: &str, _: &[u8], _: &[u8]) -> Result<(), CallError> {
            unreachable!()
        }

        fn deadline(&self, _: Ticket) -> Option<Instant> {
            unreachable!()
        }

        fn expire(self: Arc<Self>, _: Ticket) {}

        fn forget(&self, _: Ticket) {}
    }

    fn job(run: impl Fn() + Send + Sync + 'static) -> Job {
        let service = Function::new("f").raw_handler(move |_, _| {
            run();
            Ok(Vec::new())
        });
        let invocation = Invocation {
            function: "f".into(),
            caller: 1,
            caller_name: "c".into(),
            deadline: None,
            headers: Box::default(),
            event: None,
            cancelled: Arc::default(),
        };
        Job {
            handler: service.handler.expect("it was given one"),
            context: Context {
                invocation: Arc::new(invocation),
                client: Client::new(Arc::new(Offline)),
            },
            payload: Vec::new(),
            reply: None,
        }
    }

    #[test]
    fn jobs_run_beside_each_other_also_if_they_come_before_a_thread_took_the_first() {
        let pool = Arc::new(Pool::new(2, 10));
        let (delivered, deliveries) = mpsc::channel();
        let (gate, at_the_gate) = mpsc::channel::<()>();
        let at_the_gate = Arc::new(Mutex::new(at_the_gate));
        let deliver = || {
            let (delivered, at_the_gate) = (delivered.clone(), at_the_gate.clone());
            Box::new(move |_, _| {
                delivered.send(()).unwrap();
                // Until the gate is gone.
                let _ = lock(&at_the_gate).recv();
            }) as Deliver
        };
        // The only thread has run a job, and is kept from the next one.
        assert!(pool.push(job(|| {}), deliver).is_ok());
        deliveries.recv_timeout(PATIENCE).unwrap();
        // Now two come that need each other.
        let both = Arc::new(Barrier::new(2));
        for _ in 0..2 {
            let both = both.clone();
            let meet = move || {
                both.wait();
            };
            assert!(pool.push(job(meet), deliver).is_ok());
        }
        drop(gate);
        for _ in 0..2 {
            let met = deliveries.recv_timeout(PATIENCE);
            met.expect("both run at the same time");
        }
        pool.close();
    }

    #[test]
    fn a_queue_takes_as_many_jobs_as_it_may_and_refuses_the_next() {
        let pool = Arc::new(Pool::new(1, 3));
        let (started, starts) = mpsc::channel();
        let (gate, at_the_gate) = mpsc::channel::<()>();
        let at_the_gate = Arc::new(Mutex::new(at_the_gate));
        let deliver = || Box::new(|_, _| {}) as Deliver;
        let wait = || {
            let (started, at_the_gate) = (started.clone(), at_the_gate.clone());
            job(move || {
                started.send(()).unwrap();
                let _ = lock(&at_the_gate).recv();
            })
        };
        assert!(pool.push(wait(), deliver).is_ok());
        starts.recv_timeout(PATIENCE).unwrap();
        for _ in 0..3 {
            assert!(pool.push(wait(), deliver).is_ok());
        }
        assert!(pool.push(wait(), deliver).is_err());
        drop(gate);
        for _ in 0..3 {
            starts.recv_timeout(PATIENCE).unwrap();
        }
        pool.close();
        assert!(pool.push(wait(), deliver).is_err(), "it is closed");
    }
}
