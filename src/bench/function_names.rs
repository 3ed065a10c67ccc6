//! Names for a bench's functions, under a prefix of its own, `bench::<random>::`: they cannot clash with other
//! functions, and are recognised on the board.

use super::error::BenchError;

/// A prefix, and the names under it.
#[derive(Debug, Clone)]
pub(super) struct FunctionNames {
    prefix: String,
}

impl FunctionNames {
    pub(super) fn new() -> Result<Self, BenchError> {
        let mut chance = [0; 4];
        getrandom::fill(&mut chance)
            .map_err(|error| BenchError::System(std::io::Error::other(error.to_string())))?;
        Ok(Self {
            prefix: format!("bench::{:08x}::", u32::from_ne_bytes(chance)),
        })
    }

    /// The name of a function of a group. Numbers have a fixed number of digits, so that all frames of a group have
    /// the same size.
    pub(super) fn name(&self, group: &str, number: u64) -> String {
        format!("{}{group}::{number:09}", self.prefix)
    }

    /// The prefix of a group's names.
    pub(super) fn group(&self, group: &str) -> String {
        format!("{}{group}::", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::check_function_name;

    #[test]
    fn names_are_legal_and_two_benches_have_none_in_common() {
        let (one, other) = (FunctionNames::new().unwrap(), FunctionNames::new().unwrap());
        let name = one.name("echo", 7);
        assert_eq!(check_function_name(&name), Ok(()));
        assert!(name.starts_with(&one.group("echo")));
        assert_ne!(name, other.name("echo", 7));
        assert_eq!(name.len(), one.name("echo", 123_456_789).len());
    }
}
