//! What the fuzz targets do with their bytes, one file each: `run` panics over whatever must not be. The
//! targets in `fuzz/` and the ordinary tests run the same code. Chooses no bytes itself.

// No user needs all of it: a target has one `run`, the tests make seeds too.
#![allow(dead_code)]

mod cursor;
mod engine_frame;
pub mod frame;
mod host;
pub mod library;
pub mod payload;
mod principals;
pub mod recording;
mod replica;
mod rule_keeper;
pub mod session;
mod stranger;
mod worker_frame;

/// Panics if `work` ever held more than `most` bytes of memory more than before.
fn bounded<T>(most: usize, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let used = allocation_counter::measure(|| result = Some(work()));
    assert!(
        used.bytes_max <= most as u64,
        "{} bytes were held at once, {most} are expected at the most",
        used.bytes_max
    );
    result.expect("the work was done")
}
