//! `delete`: an app, and its routes when asked.

use super::find_app_maybe;
use crate::{Error, api::Api, output, wait};
use cupola_protocol::api::Route;
use reqwest::Method;
use std::io::{BufRead, IsTerminal, Write};

/// Flags of `cupola delete`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The app
    name: String,
    /// Do not ask
    #[arg(short)]
    force: bool,
    /// Delete its routes too
    #[arg(short)]
    routes: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Error> {
    let mut api = Api::open()?;
    let name = &arguments.name;
    let Some(app) = find_app_maybe(&mut api, name).await? else {
        output::line(format_args!("there is no app {name}"));
        output::ok();
        return Ok(());
    };
    if !arguments.force && !confirmed(&format!("the app {name}"))? {
        output::line(format_args!("nothing was deleted"));
        return Ok(());
    }
    output::doing(&format!("Deleting app {name} ..."));
    let routes: Vec<Route> =
        if arguments.routes { api.list(&format!("/v3/apps/{}/routes", app.guid)).await? } else { Vec::new() };
    delete(&mut api, &format!("/v3/apps/{}", app.guid), name).await?;
    for route in routes {
        delete(&mut api, &format!("/v3/routes/{}", route.guid), &route.url).await?;
    }
    output::ok();
    Ok(())
}

/// Deletes one thing and waits until it is gone; what is gone already is deleted.
pub(super) async fn delete(api: &mut Api, path: &str, what: &str) -> Result<(), Error> {
    match api.send_for_job(Method::DELETE, path, |request| request).await {
        Ok(Some(job)) => wait::job(api, &job, &format!("deleting {what}")).await,
        Ok(None) | Err(Error::Refused { status: 404, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Asks whether something shall really be deleted.
pub(super) fn confirmed(what: &str) -> Result<bool, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal { what: "confirmation", flag: "-f" });
    }
    print!("Really delete {what}? [yN] ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    Ok(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"))
}
