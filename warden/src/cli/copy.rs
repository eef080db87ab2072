//! `warden copy-in` and `warden copy-out`. As rsync has it, `dir/` is what is in the directory, `dir` the directory.

use super::{Doing, Error, parse};
use std::path::{Path, PathBuf};
use warden_client::Client;

/// Copies files of the host into a container, as its user vcap.
#[derive(Debug, clap::Args)]
pub struct In {
    /// The container
    handle: String,
    /// Path on the host; with a slash at its end, what is in that directory
    source: PathBuf,
    /// Path in the container
    target: String,
}

/// Copies files of a container to the host.
#[derive(Debug, clap::Args)]
pub struct Out {
    /// The container
    handle: String,
    /// Path in the container; with a slash at its end, what is in that directory
    source: String,
    /// Path on the host
    target: PathBuf,
    /// Who shall own the copies on the host; the daemon's user when missing
    #[arg(long, value_name = "USER:GROUP")]
    owner: Option<String>,
}

pub(super) async fn copy_in(arguments: In, client: &Client) -> Result<(), Error> {
    let In { handle, source, target } = arguments;
    let source = host(&source)?;
    let copied = client.copy_in(&handle, &source, &target).await;
    copied.doing(|| format!("copy {source} to {target} in {handle}"))
}

pub(super) async fn copy_out(arguments: Out, client: &Client) -> Result<(), Error> {
    let Out { handle, source, target, owner } = arguments;
    let target = host(&target)?;
    let copied = client.copy_out(&handle, &source, &target, owner.as_deref()).await;
    copied.doing(|| format!("copy {source} of {handle} to {target}"))
}

fn host(path: &Path) -> Result<String, Error> {
    parse::host_path(path).map_err(|source| Error::system(format!("use the path {}", path.display()), source))
}
