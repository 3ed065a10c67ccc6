//! Aligned columns. The last column is not padded, and a cell wider than its column shifts only its own row.

use super::failure::Failure;
use super::output::{Colour, Output};
use super::text;

/// The widest padding, except in the last column.
const WIDEST: usize = 48;

/// Rows under a heading.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    right: [bool; N],
}

impl<const N: usize> Table<N> {
    pub(super) fn new(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned)],
            right: [false; N],
        }
    }

    /// Right-aligns a column.
    pub(super) fn right(mut self, column: usize) -> Self {
        self.right[column] = true;
        self
    }

    /// Adds a row. Hidden characters must be escaped already.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Prints the heading, dimmed, and the rows, each behind this indentation.
    pub(super) fn print(&self, out: &mut Output, indent: &str) -> Result<(), Failure> {
        let paint = out.paint();
        for (i, line) in self.lines().enumerate() {
            let line = format!("{indent}{line}");
            match i {
                0 => out.line(paint.text(Colour::Dim, line))?,
                _ => out.line(line)?,
            }
        }
        Ok(())
    }

    /// The lines, heading first.
    fn lines(&self) -> impl Iterator<Item = String> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = text::width(cell).max(*width).min(WIDEST);
            }
        }
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                if self.right[i] {
                    line.push_str(&" ".repeat(widths[i].saturating_sub(text::width(cell))));
                    line.push_str(cell);
                } else {
                    line.push_str(&text::padded(cell, widths[i]));
                }
                line.push_str("  ");
            }
            line.truncate(line.trim_end().len());
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let mut table = Table::new(["ID", "NAME", "WHAT"]).right(0);
        table.row(["7".into(), "名前".into(), "x".into()]);
        table.row(["12".into(), "ab".into(), String::new()]);
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(lines, ["ID  NAME  WHAT", " 7  名前  x", "12  ab"]);
    }
}
