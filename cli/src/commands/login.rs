//! `login`: asks for what is missing, gets tokens, and targets the only organization and space there are.

use super::target;
use crate::{Error, api::Api, ask, output, session::Session};

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
        None => ask::line("user name", "-u NAME")?,
    };
    let password = match arguments.password {
        Some(password) => password,
        None if arguments.password_stdin => {
            let [password] = ask::passwords_from_stdin()?;
            password
        }
        None => ask::password("password")?,
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
        None => ask::password("password")?,
    };
    let session = Session::load()?;
    let mut api = Api::at(session.forgotten(None), &session.api_address());
    api.probe().await?;
    api.login(&user, &password).await?;
    target::choose(&mut api, None, None).await?;
    output::ok();
    Ok(())
}
