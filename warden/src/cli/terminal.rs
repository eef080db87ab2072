//! This process's own terminal: raw while a job has it, and as it was afterwards, whatever happens.

use super::Error;
use crate::sys;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Stdin, stdin};
use std::os::fd::AsFd;
use warden_client::message::WindowSize;

/// A terminal in raw mode: what is typed goes to the job as it is, its signals (`^C`) too. Dropping it restores the
/// terminal.
#[derive(Debug)]
pub(super) struct Raw {
    terminal: Stdin,
    before: Termios,
}

impl Raw {
    /// Makes standard input raw.
    pub(super) fn enter() -> Result<Self, Error> {
        let terminal = stdin();
        let failed = |errno| Error::system("use the terminal of standard input", errno);
        let before = tcgetattr(&terminal).map_err(failed)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSANOW, &raw).map_err(failed)?;
        Ok(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}

/// Whether a job can have this process's terminal.
pub(super) fn is_there() -> bool {
    stdin().is_terminal()
}

/// The size of the terminal of a descriptor; unknown (0) where it does not tell.
pub(crate) fn window_size(terminal: impl AsFd) -> WindowSize {
    let (columns, rows) = sys::window::size(terminal.as_fd()).unwrap_or((0, 0));
    WindowSize { columns: columns.into(), rows: rows.into() }
}
