//! The developer's commands: `cupola push` and what follows.
//!
//! - [`Command`]: the commands, one file each in `commands/`
//! - `api`: the HTTP client of the controller, with its errors in words for people
//! - `ask`: what a person is asked at the terminal
//! - `patience`: what is sent again while the API is away
//! - `session`: what a login leaves on disk
//! - `push/`: files, manifest, upload

mod api;
mod ask;
mod commands;
mod error;
mod output;
mod patience;
mod push;
mod session;
mod wait;

pub use commands::Command;
pub use error::Error;

use std::process::ExitCode;

/// Runs one command to its end; what went wrong is printed to standard error in one message.
pub fn run(command: Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("FAILED\ncannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED\n{}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
