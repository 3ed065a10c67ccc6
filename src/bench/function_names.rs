//! The names that a bench gives its functions: a prefix of its own, `bench::<random>::`, so that it disturbs nobody
//! and can tell what is its own from what is not.

use super::BenchError;

/// See the top of this file.
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

    /// A function's name: of a group, with a number of always as many digits, so that all frames of a group are of
    /// one size.
    pub(super) fn name(&self, group: &str, number: u64) -> String {
        format!("{}{group}::{number:09}", self.prefix)
    }

    /// What the names of a group begin with.
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
