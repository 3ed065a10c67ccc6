//! The `callboard` binary: passes its arguments to the command line and returns its exit code.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os().skip(1))
}
