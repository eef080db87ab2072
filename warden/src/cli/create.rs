//! `warden create`, and what `run` takes of it.

use super::{Doing, Error, limit, output, parse};
use std::path::PathBuf;
use warden_client::Client;
use warden_client::message::{BindMount, CreateRequest, Property};

/// What a container is made of.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Container")]
pub(crate) struct ContainerFlags {
    /// Its root: a directory or an EROFS image file; the daemon's own choice when missing
    #[arg(long, value_name = "PATH")]
    rootfs: Option<PathBuf>,
    /// A read-only layer over the root, directory or EROFS image; the first is topmost
    #[arg(long = "layer", value_name = "PATH")]
    layers: Vec<PathBuf>,
    /// A path of the host shown inside: SOURCE:TARGET, with :ro (usual), :rw or :owned
    #[arg(long = "bind", value_name = "BIND", value_parser = parse::bind)]
    binds: Vec<BindMount>,
    /// No writable layer: nobody can change the root
    #[arg(long)]
    read_only: bool,
    /// The network of the daemon's pool that it shall have
    #[arg(long, value_name = "A.B.C.D/30", conflicts_with = "no_network")]
    network: Option<String>,
    /// A loopback link alone
    #[arg(long)]
    no_network: bool,
    /// Host name inside
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Something to know it by: NAME=VALUE
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse::property)]
    properties: Vec<Property>,
    #[command(flatten)]
    limits: limit::LimitFlags,
}

impl ContainerFlags {
    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        let request = self.clone().request(None, 0);
        request
            .is_ok_and(|request| request == CreateRequest { grace_time: Some(0), ..CreateRequest::default() })
    }

    /// The request for such a container.
    pub(super) fn request(self, handle: Option<String>, grace_time: u32) -> Result<CreateRequest, Error> {
        let absolute = |path: PathBuf| {
            parse::host_path(&path)
                .map_err(|source| Error::system(format!("use the path {}", path.display()), source))
        };
        let mut bind_mounts = self.binds;
        for bind in &mut bind_mounts {
            bind.src_path = absolute(PathBuf::from(&bind.src_path))?;
        }
        Ok(CreateRequest {
            bind_mounts,
            grace_time: Some(grace_time),
            handle,
            network: self.network,
            rootfs: self.rootfs.map(absolute).transpose()?,
            disk_bytes: None,
            layers: self.layers.into_iter().map(absolute).collect::<Result<_, _>>()?,
            properties: self.properties,
            limits: self.limits.limits(),
            no_network: self.no_network.then_some(true),
            read_only: self.read_only.then_some(true),
            hostname: self.hostname,
        })
    }
}

/// Makes a container and prints its handle.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Its handle, any text; the daemon makes one when missing
    handle: Option<String>,
    /// Seconds without a client that has referred to it after which it is destroyed, or `never`
    #[arg(long, value_name = "SECONDS", default_value = "never", value_parser = parse::grace)]
    grace: u32,
    #[command(flatten)]
    flags: ContainerFlags,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let name = arguments
        .handle
        .clone()
        .map_or_else(|| "a container".to_owned(), |handle| format!("container {handle}"));
    let request = arguments.flags.request(arguments.handle, arguments.grace)?;
    let handle = client.create(request).await.doing(|| format!("create {name}"))?;
    output::line(handle);
    Ok(())
}
