//! Functions that were looked up lately, found by a glance at their names: whoever calls the same few again and again
//! needs no hash of each. A glance costs the same whatever the names are, and who chooses them so that they crowd each
//! other out has the hash that there was anyway.

use super::board::Name;

/// Functions that are remembered.
const PLACES: usize = 64;

/// See the top of this file.
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// No memory until something is looked up.
    places: Vec<Option<(Name, usize)>>,
}

impl Lately {
    /// The function of this name, if it was looked up lately: the name as it was noted, and the slot. The slot may
    /// have another function by now.
    pub(super) fn find(&self, name: &str) -> Option<(&Name, usize)> {
        let (known, slot) = self.places.get(place(name))?.as_ref()?;
        (**known == *name).then_some((known, *slot))
    }

    pub(super) fn note(&mut self, name: &Name, slot: usize) {
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        self.places[place(name)] = Some((name.clone(), slot));
    }
}

/// Where a name is looked for, by its length and its end: most names begin alike.
fn place(name: &str) -> usize {
    let bytes = name.as_bytes();
    let end = match bytes.last_chunk::<8>() {
        Some(end) => u64::from_le_bytes(*end),
        None => bytes
            .iter()
            .fold(0, |end, &byte| end << 8 | u64::from(byte)),
    };
    let mixed = (end ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - PLACES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_has_the_name_that_was_asked_for() {
        let mut lately = Lately::default();
        let names: Vec<Name> = (0..1_000)
            .map(|n| format!("{}f{n}", "a::".repeat(n % 5)).into())
            .collect();
        assert!(lately.find("f0").is_none());
        for (slot, name) in names.iter().enumerate() {
            lately.note(name, slot);
            assert_eq!(lately.find(name), Some((name, slot)));
            for other in &names[..slot] {
                assert!(lately.find(other).is_none_or(|(found, _)| found == other));
            }
        }
        let found = names.iter().filter(|name| lately.find(name).is_some());
        assert!((PLACES / 2..=PLACES).contains(&found.count()));
    }

    #[test]
    fn a_few_functions_of_one_service_find_places_of_their_own() {
        let mut lately = Lately::default();
        let names = [
            "orders::create",
            "orders::cancel",
            "orders::list",
            "orders::get",
        ];
        let names = names.map(Name::from);
        for (slot, name) in names.iter().enumerate() {
            lately.note(name, slot);
        }
        assert!(names.iter().all(|name| lately.find(name).is_some()));
    }
}
