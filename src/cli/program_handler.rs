//! A program in a handler's clothes: the call's argument becomes its input, its environment tells who
//! calls, and each of its ends becomes a result or a failure. How it is run is in `program`.

use std::sync::Arc;
use std::time::Instant;

use callboard::worker::{Context, Fault};
use rustix::io::Errno;

use super::json;
use super::payload;
use super::program::{Program, ProgramError, Run};

/// Runs the program for one call.
pub(super) fn handle_call(
    program: &Arc<Program>,
    call: &Context,
    argument: &[u8],
) -> Result<Vec<u8>, Fault> {
    let mut input = Vec::new();
    // Writing to memory does not fail.
    let _ = json::write_line(&mut input, &json::from_messagepack(argument));
    let environment = environment(call);
    let run = Run {
        input,
        environment: &environment,
        deadline: call.deadline(),
    };
    let began = Instant::now();
    let result = program.run(run, || call.is_cancelled());
    log::info!(
        "{} for {:?}: {} after {} ms",
        call.function(),
        call.caller_name(),
        result
            .as_ref()
            .map_or_else(ToString::to_string, |_| "done".to_owned()),
        began.elapsed().as_millis()
    );
    let output = result.map_err(fault)?;
    payload::from_bytes(&output)
        .map_err(|error| Fault::new("command_output", format!("invalid output: {error}")))
}

/// What a program may know about its call.
fn environment(call: &Context) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("CALLBOARD_FUNCTION", call.function().to_owned()),
        // The system would refuse a name with a zero byte.
        ("CALLBOARD_CALLER", call.caller_name().replace('\0', " ")),
        ("CALLBOARD_CALLER_ID", call.caller().to_string()),
    ];
    if let Some(left) = call.time_left() {
        variables.push(("CALLBOARD_TIMEOUT_MS", left.as_millis().to_string()));
    }
    if let Some(event) = call.event() {
        variables.push(("CALLBOARD_EVENT", event.to_owned()));
    }
    variables
}

fn fault(error: ProgramError) -> Fault {
    let message = error.to_string();
    match error {
        // Another time there may be room for a process again.
        ProgramError::Start(_, cause)
            if cause.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) =>
        {
            Fault::new("command_missing", message)
                .not_executed()
                .retry_later()
        }
        ProgramError::Start(..) => Fault::new("command_missing", message).not_executed(),
        ProgramError::TooLong(_) => Fault::new("command_output", message),
        ProgramError::Exit(..)
        | ProgramError::Deadline
        | ProgramError::Cancelled
        | ProgramError::System(_) => Fault::new("command_failed", message),
    }
}
