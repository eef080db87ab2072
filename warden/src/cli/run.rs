//! `warden run`.

use super::{Doing, Error, Forwarded, create, direct, job_status, output, parse, relayed, terminal};
use warden_client::Client;
use warden_client::message::SpawnRequest;

/// How long a container that was made for one program outlives this command, should the command be killed, in seconds.
const ORPHANED: u32 = 10;

/// Runs a program and exits with its status. Without a container, one is made for it and destroyed after it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container; when missing, one is made with the flags below
    handle: Option<String>,
    #[command(flatten)]
    job: JobFlags,
    /// On this terminal
    #[arg(long, short)]
    tty: bool,
    /// With this command's standard input; else its input is at its end
    #[arg(long, short)]
    input: bool,
    /// Do not wait: print the job's number
    #[arg(long, short, conflicts_with_all = ["tty", "input"], requires = "handle")]
    detach: bool,
    #[command(flatten)]
    container: create::ContainerFlags,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// As whom, where, and with which environment a job runs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Job")]
pub(crate) struct JobFlags {
    /// As root of the container instead of vcap
    #[arg(long, conflicts_with = "user")]
    root: bool,
    /// As these ids inside, without capabilities
    #[arg(long, value_name = "UID:GID", value_parser = parse::user)]
    user: Option<String>,
    /// An environment variable: NAME=VALUE, or NAME to pass on this command's own
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = parse::environment)]
    environment: Vec<String>,
    /// Directory to start in; the user's home when missing
    #[arg(long, short = 'w', value_name = "PATH")]
    dir: Option<String>,
}

impl JobFlags {
    /// The request for such a job.
    pub(super) fn request(self, handle: &str, argv: Vec<String>) -> SpawnRequest {
        SpawnRequest {
            handle: handle.to_owned(),
            argv,
            privileged: self.root.then_some(true),
            user: self.user,
            env: self.environment,
            dir: self.dir,
            ..SpawnRequest::default()
        }
    }
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<u8, Error> {
    if arguments.tty && !terminal::is_there() {
        return Err(Error::Usage("--tty needs a terminal, and standard input is none".to_owned()));
    }
    // From here on, so that a signal which comes before the job begins is passed on to it then.
    let mut signals = Forwarded::listen(&[])?;
    if let Some(handle) = arguments.handle.clone() {
        if !arguments.container.is_empty() {
            let why = format!("{handle} is made already: leave out the flags of a container, or the handle");
            return Err(Error::Usage(why));
        }
        return in_container(arguments, &handle, client, &mut signals).await;
    }
    let request = arguments.container.clone().request(None, ORPHANED)?;
    let handle = client.create(request).await.doing(|| "create a container for it".to_owned())?;
    let result = in_container(arguments, &handle, client, &mut signals).await;
    client.destroy(&handle).await.doing(|| format!("destroy {handle}"))?;
    result
}

async fn in_container(
    arguments: Arguments,
    handle: &str,
    client: &Client,
    signals: &mut Forwarded,
) -> Result<u8, Error> {
    let request = arguments.job.request(handle, arguments.command);
    if arguments.detach {
        let program = super::job::name(&request);
        let job = client.spawn(request).await.doing(|| format!("run {program} in {handle}"))?;
        output::line(job);
        return Ok(super::status::SUCCESS);
    }
    let status = match arguments.tty {
        true => relayed(client, request, signals).await?,
        false => direct(client, request, arguments.input, signals).await?,
    };
    Ok(job_status(status))
}
