//! The rules that hold between files: what a module may name, and that each page in `docs/` says what the code says.
//! Reads files; runs nothing but `callboard --help`.

mod architecture;
mod books;
mod errors;
mod imports;
mod logs;
mod operations;
mod proof;
mod specification;
mod thresholds;
