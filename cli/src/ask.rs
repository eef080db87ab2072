//! What a person is asked at the terminal. A password is never shown, and is read twice where it is new.

use crate::Error;
use std::{
    io::{BufRead, IsTerminal, Read, Write},
    path::PathBuf,
};

/// Most bytes that are read as passwords from standard input.
const LONGEST_PASSWORDS: u64 = 4096;

/// Asks for a line of text; `flag` gives it without a terminal.
pub(crate) fn line(what: &'static str, flag: &'static str) -> Result<String, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal { what, flag });
    }
    print!("{what}: ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(line.trim().to_owned())
}

/// Asks for a password without showing it.
pub(crate) fn password(what: &'static str) -> Result<String, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal { what, flag: "--password-stdin" });
    }
    rpassword::prompt_password(format!("{what}: ")).map_err(unreadable)
}

/// Asks for a new password twice.
pub(crate) fn new_password() -> Result<String, Error> {
    let first = password("new password")?;
    if password("the same again")? == first {
        Ok(first)
    } else {
        Err(Error::Usage("the two passwords differ: nothing was changed".to_owned()))
    }
}

/// Reads so many lines from standard input, each a password.
pub(crate) fn passwords_from_stdin<const N: usize>() -> Result<[String; N], Error> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST_PASSWORDS).read_to_string(&mut text).map_err(unreadable)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.try_into().map_err(|lines: Vec<String>| {
        let count = lines.len();
        Error::Usage(format!("standard input has {count} lines and should have {N}, each a password"))
    })
}

fn unreadable(source: std::io::Error) -> Error {
    Error::File { action: "read", path: PathBuf::from("standard input"), source }
}
