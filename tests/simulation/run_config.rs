//! What a run is like: the limits of its engine, how many take part, and how often what goes wrong. All of
//! it follows from the seed.

use callboard::limits::Limits;

use crate::rng::Rng;

#[derive(Debug)]
pub(crate) struct RunConfig {
    pub limits: Limits,
    /// Limits on calls are so small that calls are refused for them.
    pub tight: bool,
    pub workers: usize,
    pub strangers: usize,
    pub namespaces: usize,
    /// Turns until everything calms down.
    pub turns: usize,
    /// Something goes wrong once in so many turns.
    pub fault_interval: usize,
    /// Bytes that the kernel holds for a reader.
    pub buffers: Vec<usize>,
    /// Microseconds that a parcel takes at the most.
    pub slowness: Vec<u64>,
    /// Milliseconds between two turns at the most.
    pub pace: u64,
    /// The engine may be restarted.
    pub restarts: bool,
    /// The engine lets in only those who have a token, and may be told of other rights.
    pub credentials: bool,
}

impl RunConfig {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let (ping_after, silence) = rng.pick(&[(5_000, 15_000), (400, 1_200), (1_000, 3_000)]);
        let mut limits = Limits {
            log_bytes: rng.pick(&[600, 3_000, 20_000, 200_000, 16 << 20]),
            changes_per_second: rng.pick(&[0, 0, 20, 100]),
            max_outbound: rng.pick(&[4 << 20, 4 << 20, 20_000, 2_000]),
            ping_after,
            silence,
            write_deadline: rng.pick(&[15_000, 1_500]),
            ready_timeout: rng.pick(&[2_000, 300]),
            frame_timeout: rng.pick(&[5_000, 5_000, 1_000]),
            linger: rng.pick(&[2_000, 200]),
            settling: rng.pick(&[3_000, 3_000, 300, 0]),
            grace: rng.pick(&[10_000, 400]),
            ..Limits::default()
        };
        let tight = rng.one_in(4);
        if tight {
            match rng.below(5) {
                0 => limits.max_parked = 2,
                1 => limits.max_retained = 400,
                2 => limits.max_calls = 3,
                3 => limits.max_calls_total = 6,
                _ => limits.max_backlog = 4_000,
            }
        }
        if rng.one_in(4) {
            limits.max_functions = 8;
        }
        let workers = 4 + rng.below(6);
        if rng.one_in(6) {
            limits.max_connections = workers as u64 + 1;
        }
        let mut config = Self {
            tight,
            workers,
            strangers: rng.below(3),
            namespaces: 1 + rng.below(3),
            turns: 150 + rng.below(200),
            fault_interval: rng.pick(&[5, 10, 20, 40]),
            buffers: rng.pick(&[
                vec![1 << 20],
                vec![1 << 20, 2_000],
                vec![150, 4_000, 60_000],
            ]),
            slowness: rng.pick(&[
                vec![1],
                vec![1],
                vec![1, 5_000, 30_000],
                vec![20_000, 600_000],
            ]),
            pace: rng.pick(&[5, 20, 20, 200]),
            restarts: rng.one_in(2),
            credentials: rng.one_in(2),
            limits,
        };
        if rng.is_even() {
            // No limit on bytes is met.
            config.limits.max_outbound = Limits::default().max_outbound.max(4 << 20);
            config.limits.max_backlog = Limits::default().max_backlog;
            config.buffers = vec![1 << 24];
        }
        config
    }
}
