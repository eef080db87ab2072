//! The daemon as a whole: from configuration to a socket that answers, to the end.

use super::connection;
use super::dispatch::Session;
use super::engine::Engine;
use super::peer::Process;
use super::{Config, Error};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Uid, User};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long requests that are under way may take when the daemon ends.
const DRAIN: Duration = Duration::from_secs(15);

/// How long the lock of a killed daemon may be held by a program that it was just starting.
const LOCK: Duration = Duration::from_secs(2);

/// A daemon that has its containers and its socket.
#[derive(Debug)]
pub struct Server {
    engine: Arc<Engine>,
    listener: UnixListener,
    socket: PathBuf,
    owner: Option<u32>,
    /// Held until the end: one daemon per data directory.
    _lock: Flock<File>,
}

/// Prepares the host, takes over the containers of an earlier daemon, and opens the socket.
pub async fn bind(config: Config) -> Result<Server, Error> {
    config.validate()?;
    if !Uid::effective().is_root() {
        return Err(Error::NotRoot);
    }
    let owner = config.socket_owner.as_deref().map(user).transpose()?;
    let lock = lock_data(&config.data_dir).await?;
    if UnixStream::connect(&config.socket).await.is_ok() {
        return Err(Error::Running(config.socket));
    }
    let (init, socket) = (init_program(&config)?, config.socket.clone());
    let runtime = tokio::runtime::Handle::current();
    let start = move || {
        let engine = Arc::new(Engine::prepare(config, &init, runtime)?);
        engine.recover()?;
        Ok(engine)
    };
    let engine = super::stream::blocking(start).await??;
    let listener = listen(&socket, owner)?;
    // Nobody is connected yet: every container's grace begins now.
    for container in engine.all() {
        engine.start_grace(&container);
    }
    Ok(Server { engine, listener, socket, owner, _lock: lock })
}

impl Server {
    /// Serves until `shutdown`. Containers live on.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.engine.clone().watch_memory(shutdown.clone()));
        tasks.spawn(self.engine.clone().retry_destroys(shutdown.clone()));
        while let Some(accepted) = shutdown.run_until_cancelled(self.listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.admit(stream, &mut tasks, &shutdown),
                Err(error) => {
                    // Out of descriptors, most likely: somebody has to close one first.
                    tracing::error!(%error, "cannot take a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while tasks.try_join_next().is_some() {}
        }
        // Before the last requests are finished: a client that comes now goes to the next daemon.
        let _ = fs::remove_file(&self.socket);
        let drained = tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("requests were cut off");
        }
        let engine = self.engine.clone();
        super::stream::blocking(move || engine.leave()).await
    }

    fn admit(&self, stream: UnixStream, tasks: &mut JoinSet<()>, shutdown: &CancellationToken) {
        let process = match Process::of(&stream) {
            Ok(process) => process,
            Err(error) => return tracing::warn!(%error, "client without credentials refused"),
        };
        let uid = process.uid();
        if uid != 0 && Some(uid) != self.owner {
            return tracing::warn!(uid, "client of another user refused");
        }
        let session = Session::new(self.engine.clone(), process);
        tasks.spawn(connection::serve(stream, session, shutdown.clone()));
    }
}

/// uid of a user by name or number.
fn user(name: &str) -> Result<u32, Error> {
    let found =
        User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()).or_else(|| name.parse().ok());
    found.ok_or_else(|| Error::Config { key: "socket_owner", why: format!("there is no user {name:?}") })
}

async fn lock_data(data_dir: &Path) -> Result<Flock<File>, Error> {
    let directory = data_dir.join("warden");
    fs::create_dir_all(&directory).map_err(Error::io("make the data directory", &directory))?;
    let path = directory.join("lock");
    let mut file = File::create(&path).map_err(Error::io("open the lock file", &path))?;
    let deadline = Instant::now() + LOCK;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((again, nix::Error::EWOULDBLOCK)) if Instant::now() < deadline => file = again,
            Err((_, nix::Error::EWOULDBLOCK)) => return Err(Error::Running(data_dir.to_owned())),
            Err((_, errno)) => return Err(Error::io("lock the data directory", &path)(errno.into())),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The configured init program, or the one beside our own, or the one that cargo has built for it.
fn init_program(config: &Config) -> Result<PathBuf, Error> {
    if let Some(path) = &config.init {
        return Ok(path.clone());
    }
    let own = std::env::current_exe()
        .map_err(Error::io("find the daemon's own program", Path::new("/proc/self/exe")))?;
    let directory = own.parent().unwrap_or(Path::new("/"));
    let beside = directory.join("warden-init");
    let built = directory
        .file_name()
        .zip(directory.parent())
        .map(|(profile, target)| target.join("x86_64-unknown-linux-gnu").join(profile).join("warden-init"));
    Ok(built.filter(|path| path.is_file()).unwrap_or(beside))
}

fn listen(socket: &Path, owner: Option<u32>) -> Result<UnixListener, Error> {
    if let Some(directory) = socket.parent() {
        fs::create_dir_all(directory).map_err(Error::io("make the socket's directory", directory))?;
    }
    match fs::remove_file(socket) {
        // Nobody answers on it: it was left by a daemon that was killed.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove the old socket", socket)(error));
        }
        _ => (),
    }
    let listener = UnixListener::bind(socket).map_err(Error::io("open the socket", socket))?;
    chown(socket, owner, None).map_err(Error::io("give the socket to its owner", socket))?;
    fs::set_permissions(socket, Permissions::from_mode(0o660))
        .map_err(Error::io("protect the socket", socket))?;
    Ok(listener)
}
