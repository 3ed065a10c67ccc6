//! Pressure: which users met which limits, and how often. Kept when a user is gone, for the operator who asks later.

use std::collections::BTreeMap;

use super::identity::Identity;

/// Users that are counted by name. Further ones count together.
const NAMED_MAX: usize = 256;

/// How often a limit was met, by its flag.
pub(crate) type ByFlag = BTreeMap<&'static str, u64>;

/// How often users met limits.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    by_user: BTreeMap<Identity, ByFlag>,
    /// Those of users that came when as many as may were counted by name.
    others: ByFlag,
}

impl Pressure {
    /// A user met a limit.
    pub(super) fn count(&mut self, user: &Identity, flag: &'static str) {
        let is_named = self.by_user.len() < NAMED_MAX || self.by_user.contains_key(user);
        let flags = if is_named {
            self.by_user.entry(user.clone()).or_default()
        } else {
            &mut self.others
        };
        *flags.entry(flag).or_default() += 1;
    }

    /// The counts, by the names of the users. Those without a name of their own are `others`.
    pub(crate) fn report(&self) -> BTreeMap<String, ByFlag> {
        let named = self.by_user.iter();
        let named = named.map(|(user, flags)| (user.to_string(), flags.clone()));
        let others = Some(("others".to_owned(), self.others.clone()));
        let others = others.filter(|(_, flags)| !flags.is_empty());
        named.chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_counted_by_name_up_to_a_number_and_then_together() {
        let mut pressure = Pressure::default();
        let user = |number: usize| Identity::Principal(format!("p{number:03}").into());
        for round in 0..2 {
            for number in 0..NAMED_MAX + 2 {
                pressure.count(&user(number), "max-parked");
            }
            let report = pressure.report();
            assert_eq!(report.len(), NAMED_MAX + 1);
            assert_eq!(report["principal p000"]["max-parked"], round + 1);
            assert_eq!(report["others"]["max-parked"], 2 * (round + 1));
        }
    }
}
