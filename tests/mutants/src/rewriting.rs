//! Puts the switches of mutations into the text of a file. Mutations may lie within each other: only one is ever
//! active, so the changed text of the outer one has no switch of the inner one.

use std::cmp::Reverse;
use std::ops::Range;

use crate::mutation::Mutation;

/// A file with switches.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) text: String,
    /// The bytes of `text` that belong to each mutation, by its number.
    pub(crate) places: Vec<(usize, Range<usize>)>,
}

/// `mutations` are those of this file, each with the number of its switch.
pub(crate) fn rewrite(text: &str, mutations: &[(usize, &Mutation)]) -> Rewritten {
    let mut order: Vec<(usize, &Mutation)> = mutations.to_vec();
    // The outer one first; syntax trees have no partial overlaps.
    order.sort_by_key(|(_, it)| (it.span.start, Reverse(it.span.end)));
    let mut rewritten = Rewritten::default();
    rewritten.append(text, 0..text.len(), &order);
    rewritten
}

impl Rewritten {
    /// Appends a part of the original, with the mutations that lie in it.
    fn append(&mut self, text: &str, part: Range<usize>, mut mutations: &[(usize, &Mutation)]) {
        let mut at = part.start;
        while let Some(((number, outer), rest)) = mutations.split_first() {
            let inner = rest
                .iter()
                .take_while(|(_, it)| it.span.end <= outer.span.end && !outer.span.is_empty())
                .count();
            self.text += &text[at..outer.span.start];
            let begin = self.text.len();
            let (before, behind) = outer.change.around(&format!("crate::mutant::on({number})"));
            self.text += &before;
            self.append(text, outer.span.clone(), &rest[..inner]);
            self.text += &behind;
            self.places.push((*number, begin..self.text.len()));
            at = outer.span.end;
            mutations = &rest[inner..];
        }
        self.text += &text[at..part.end];
    }
}
