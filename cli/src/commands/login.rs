//! `login`: asks for what is missing, gets tokens, and targets the only organization and space there are.

use super::target;
use crate::{Error, api::Api, output, session::Session};
use std::{
    io::{BufRead, IsTerminal, Read, Write},
    path::PathBuf,
};

/// Most bytes that are read as a password from standard input.
const LONGEST_PASSWORD: u64 = 4096;

/// Flags of `cupola login`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Address of the API
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Password; other users of this machine can see it there: better --password-stdin
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin",
        allow_hyphen_values = true
    )]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Organization
    #[arg(short)]
    organization: Option<String>,
    /// Space
    #[arg(short)]
    space: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Error> {
    let session = Session::load()?;
    let base = arguments.api.unwrap_or_else(|| session.api_address());
    let mut api = Api::at(session.forgotten(None), &base);
    api.probe().await?;
    output::line(format_args!("API    {}", api.base()));
    let user = match arguments.user {
        Some(user) => user,
        None => ask("user name", "-u NAME")?,
    };
    let password = match arguments.password {
        Some(password) => password,
        None if arguments.password_stdin => from_stdin()?,
        None => ask_password()?,
    };
    api.login(&user, &password).await?;
    target::choose(&mut api, arguments.organization.as_deref(), arguments.space.as_deref()).await?;
    target::show(&api);
    output::ok();
    Ok(())
}

/// `auth`: a login without questions.
pub(crate) async fn auth(user: Option<String>, password: Option<String>) -> Result<(), Error> {
    let given = |argument: Option<String>, variable| argument.or_else(|| std::env::var(variable).ok());
    let user =
        given(user, "CF_USERNAME").ok_or(Error::NoTerminal { what: "user name", flag: "CF_USERNAME" })?;
    let password = match given(password, "CF_PASSWORD") {
        Some(password) => password,
        None => ask_password()?,
    };
    let session = Session::load()?;
    let mut api = Api::at(session.forgotten(None), &session.api_address());
    api.probe().await?;
    api.login(&user, &password).await?;
    target::choose(&mut api, None, None).await?;
    output::ok();
    Ok(())
}

fn ask(what: &'static str, flag: &'static str) -> Result<String, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal { what, flag });
    }
    print!("{what}: ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(unreadable)?;
    Ok(line.trim().to_owned())
}

fn ask_password() -> Result<String, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal { what: "password", flag: "--password-stdin" });
    }
    rpassword::prompt_password("password: ").map_err(unreadable)
}

fn from_stdin() -> Result<String, Error> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST_PASSWORD).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn unreadable(source: std::io::Error) -> Error {
    Error::File { action: "read", path: PathBuf::from("standard input"), source }
}
