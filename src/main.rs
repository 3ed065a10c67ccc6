//! The `callboard` binary: hands its arguments to the command line, and ends with the exit code that it
//! gives. Nothing else happens here.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run(std::env::args_os().skip(1))
}
