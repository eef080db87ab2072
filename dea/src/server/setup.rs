//! Everything that can fail early.

use super::{Server, subscriptions::Subscriptions};
use crate::{
    Config, Error,
    config::seconds,
    crashes::Crashes,
    droplets::Droplets,
    figures::{self, Figures},
    files::Directory,
    identity,
    instance::Outputs,
    journal::Journal,
    machine,
    node::Node,
};
use cupola_bus::Bus;
use cupola_status::{Identity, Page};
use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};
use warden_client::Client;

/// How long a connection to the blob store may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks the configuration, opens the data directory, reads the journal and subscribes. The warden need not be
/// there yet.
///
/// # Errors
/// [`Error::Config`] for a key that cannot be used, [`Error::File`] and [`Error::Journal`] for the data
/// directory, [`Error::Listen`] for the file server, [`Error::Subscribe`] when the bus refuses.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.validate()?;
    let home = config.data_dir.join("dea");
    let (droplets, crashes) = (home.join("droplets"), home.join("crashes"));
    for directory in [&home, &droplets, &crashes] {
        fs::create_dir_all(directory).map_err(Error::file("make", directory))?;
    }
    // The journal holds credentials of services, and crashed apps' files are nobody else's business.
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).map_err(Error::file("close", &home))?;
    let id = identity::load(&home)?;
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(seconds(config.droplet_fetch_timeout_seconds))
        .build()
        .map_err(Error::Client)?;
    let status = Identity {
        name: "dea",
        kind: "DEA",
        index: config.index,
        id: id.to_string(),
        historic: figures::historic,
    };
    let (page, questions) = Page::bind(&config.status, status, &config, &bus).await.map_err(Error::Status)?;
    let figures = page.figures(Figures::new);
    let droplets = Droplets::open(droplets.clone(), client, config.droplet_max_mb.bytes())
        .map_err(Error::file("read", droplets))?
        .counted(figures.downloads());
    let stacks = config.stacks_dir.clone().unwrap_or_else(|| config.data_dir.join("stacks"));
    let stacks = rootfs::Store::open(&stacks).map_err(Error::Stacks)?;
    let journal = Journal::new(home.join("instances.json"));
    let left_behind = journal.read()?;
    let subscriptions = Subscriptions::new(&bus, &id).await.map_err(Error::Subscribe)?;
    // From here on nothing that is said to this agent is lost.
    bus.flush().await.map_err(Error::Subscribe)?;
    let (directory, listener) = Directory::bind(&config, &id).await?;
    let node = Node {
        id,
        capacity: machine::capacity(&config, &home)?,
        warden: Client::new(&config.warden_socket),
        droplets,
        figures,
        crashes: Crashes::open(crashes)?,
        outputs: Outputs::new(config.files.output_bytes),
        directory,
        bus,
        stacks,
        config,
    };
    let names = super::housekeeping::stack_names(&node.stacks);
    tracing::info!(
        dea = %node.id,
        memory = %node.capacity.memory,
        disk = %node.capacity.disk,
        stacks = names.join(" "),
        instances = left_behind.len(),
        "node agent is set up"
    );
    Ok(Server {
        node: Arc::new(node),
        journal,
        subscriptions,
        left_behind,
        stacks: names,
        listener,
        page,
        questions,
    })
}
