//! The limit on file descriptors: each connection needs one. Raises the soft limit as far as the hard limit allows,
//! and reports if that is not enough.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::BenchError;

/// Descriptors open besides connections: standard streams, the poll, files of `/proc`.
const OTHERS: u64 = 32;

/// Makes room for this many connections.
pub(super) fn make_room(connections: usize) -> Result<(), BenchError> {
    let wanted = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|soft| soft >= wanted) {
        return Ok(());
    }
    if let Some(allowed) = limit.maximum.filter(|&hard| hard < wanted) {
        return Err(BenchError::Descriptors { wanted, allowed });
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| BenchError::System(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_limit_allows_is_refused_with_both_numbers() {
        make_room(1).expect("there is room for one");
        let Some(hard) = getrlimit(Resource::Nofile).maximum else {
            return;
        };
        match make_room(hard as usize) {
            Err(BenchError::Descriptors { wanted, allowed }) => {
                assert_eq!((wanted, allowed), (hard + OTHERS, hard));
            }
            other => panic!("{other:?}"),
        }
    }
}
