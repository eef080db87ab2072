//! `warden shell`.

use super::run::JobFlags;
use super::{Error, Forwarded, job_status, relayed, terminal};
use warden_client::Client;

/// The best shell that the root filesystem has.
const BEST: &str = "if [ -x /bin/bash ]; then exec /bin/bash -l; fi; exec /bin/sh -l";

/// Opens a shell in a container on this terminal, and exits with its status.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container
    handle: String,
    #[command(flatten)]
    job: JobFlags,
    /// Another program than the shell, and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<u8, Error> {
    if !terminal::is_there() {
        let why =
            "a shell needs a terminal, and standard input is none; `warden run` runs a program without one";
        return Err(Error::Usage(why.to_owned()));
    }
    let Arguments { handle, job, command } = arguments;
    let argv = match command.is_empty() {
        true => ["/bin/sh", "-c", BEST].map(str::to_owned).to_vec(),
        false => command,
    };
    let mut request = job.request(&handle, argv);
    let terminal_kind = std::env::var("TERM").ok().filter(|kind| !kind.is_empty());
    if !request.env.iter().any(|pair| pair.starts_with("TERM=")) {
        request.env.push(format!("TERM={}", terminal_kind.as_deref().unwrap_or("xterm")));
    }
    let mut signals = Forwarded::listen(&[])?;
    Ok(job_status(relayed(client, request, &mut signals).await?))
}
