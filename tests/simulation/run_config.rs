//! What a run is like: the limits of its engine, how many take part, and how often what goes wrong. All of
//! it follows from the seed.

use callboard::limits::Limits;

use crate::rng::Rng;

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent traits of a world"
)]
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
    /// Several events are drawn into one turn.
    pub bursts: bool,
    /// Names, entries and metadata are as large as they may be, or nearly.
    pub large: bool,
    /// Work of a turn, if that is little.
    pub turn_work: Option<u64>,
    /// Some strangers say more than the engine can handle.
    pub floods: bool,
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
            bursts: false,
            large: false,
            turn_work: None,
            floods: false,
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

    /// Few workers with much to show, in one namespace.
    pub(crate) fn of_large(rng: &mut Rng) -> Self {
        let mut config = Self::new(rng);
        (config.large, config.credentials) = (true, true);
        (config.namespaces, config.strangers) = (1, 2);
        config.slowness = rng.pick(&[vec![0], vec![0], vec![1, 30_000]]);
        (config.turns, config.fault_interval) = (50 + rng.below(50), 10);
        config.workers = config.workers.min(6);
        config.buffers = rng.pick(&[vec![1 << 20], vec![1 << 20, 20_000], vec![60_000]]);
        config.limits.log_bytes = rng.pick(&[20_000, 200_000, 16 << 20]);
        config.limits.max_functions = Limits::default().max_functions;
        config.limits.changes_per_second = 0;
        config
    }

    /// Any of these, where a turn does little work and several users compete for it.
    pub(crate) fn of_paced(rng: &mut Rng) -> Self {
        let mut config = match rng.below(6) {
            0 => Self::of_large(rng),
            1 => Self::of_bursts(rng),
            _ => Self::new(rng),
        };
        config.turn_work = Some(rng.pick(&[300, 500, 1_000, 2_000, 5_000]));
        config.floods = rng.one_in(2);
        if config.floods {
            config.strangers = config.strangers.max(2);
        }
        config.limits.max_share = rng.pick(&[0, 0, 10]);
        config
    }

    /// All happens in one namespace and arrives at once, so that it meets.
    pub(crate) fn of_bursts(rng: &mut Rng) -> Self {
        let mut config = Self::new(rng);
        config.bursts = true;
        config.credentials = !rng.one_in(6);
        (config.namespaces, config.slowness, config.pace) = (1, vec![0], 20);
        (config.turns, config.fault_interval) = (80 + rng.below(80), 20);
        config.restarts = true;
        config.limits.grace = 400;
        if rng.one_in(2) {
            config.limits.max_outbound = 4 << 20;
        }
        config.limits.changes_per_second = rng.pick(&[0, 1, 1, 20]);
        if config.limits.silence < 3_000 {
            // Longer than the longest pause by a budget.
            (config.limits.ping_after, config.limits.silence) = (1_000, 3_000);
        }
        if rng.one_in(2) {
            config.limits.max_connections = config.workers as u64 + 2;
        }
        config
    }
}
