//! The component: takes requests from the bus and has them worked on.

use crate::{
    Config, Error,
    admission::{Admission, Room},
    buildpacks::Buildpacks,
    container,
    failure::Failure,
    figures::{self, Figures},
    reply,
    staging::{self, Tools},
    workspace::workspaces,
};
use cupola_bus::{Bus, Incoming, Subscription};
use cupola_protocol::{
    Mebibytes, StagerId, TaskId,
    staging::{Advertise, Locate, Start, Stop, start_subject},
};
use cupola_status::{Identity, Page, Questions};
use std::{collections::HashMap, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use warden_client::Client;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a transfer may stand still.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the warden may take to answer a question about its health.
const WARDEN_LIMIT: Duration = Duration::from_secs(1);

/// A stager that can take requests.
#[derive(Debug)]
pub struct Server {
    id: StagerId,
    tools: Arc<Tools>,
    admission: Admission,
    tasks: JoinSet<()>,
    running: HashMap<Id, (TaskId, CancellationToken)>,
    swept: bool,
    page: Option<Page>,
    status: SocketAddr,
    questions: Questions,
}

/// Makes a stager. Directories and buildpacks must be right; bus and warden may come and go.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.validate()?;
    let buildpacks = Buildpacks::open(&config)?;
    let stacks = rootfs::Store::open(&config.stacks_dir).map_err(|source| Error::Stacks { source })?;
    let id = prepare_directory(&config)?;
    let http = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()
        .map_err(|source| Error::Http { source })?;
    let identity = Identity {
        name: "stager",
        kind: "Stager",
        index: config.index,
        id: id.to_string(),
        historic: figures::historic,
    };
    let (page, questions) = Page::bind(&config.status, identity, &config, &bus)
        .await
        .map_err(|source| Error::Status { source })?;
    let short: String = id.as_str().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let room = Room { memory: Mebibytes(config.memory_mb), disk: Mebibytes(config.disk_mb) };
    let tools = Tools {
        warden: Client::new(&config.warden_socket),
        handle_prefix: format!("staging-{short}-"),
        closing: CancellationToken::new(),
        figures: page.figures(Figures::new),
        config,
        bus,
        http,
        buildpacks,
        stacks,
    };
    Ok(Server {
        id,
        tools: Arc::new(tools),
        admission: Admission::new(room),
        tasks: JoinSet::new(),
        running: HashMap::new(),
        swept: false,
        status: page.addr(),
        page: Some(page),
        questions,
    })
}

/// Makes the stager's directory, removes what a killed one has left in it, and gives the stager's id, which is kept: by
/// it a restarted stager knows its own containers.
fn prepare_directory(config: &Config) -> Result<StagerId, Error> {
    let workspaces = workspaces(config);
    match fs::remove_dir_all(&workspaces) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("empty", &workspaces)(error));
        }
        _ => fs::create_dir_all(&workspaces).map_err(Error::io("create", &workspaces))?,
    }
    let path = config.data_dir.join("id");
    match fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(StagerId::new(id.trim())),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("read", path)(error));
        }
        _ => {}
    }
    let id = StagerId::generate();
    write_whole(&path, id.as_str()).map_err(Error::io("write", path))?;
    Ok(id)
}

fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, text)?;
    fs::rename(temporary, path)
}

impl Server {
    /// The stager's name on the bus.
    pub fn id(&self) -> &StagerId {
        &self.id
    }

    /// Where its status page is.
    pub fn status_addr(&self) -> SocketAddr {
        self.status
    }

    /// Works until `shutdown`; then stops what is running and waits until nothing of it is left.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let _status = self.page.take().map(Page::serve);
        let bus = self.tools.bus.clone();
        let subscribed = |source| Error::Bus { source };
        let mut starts: Subscription<Start> =
            bus.subscribe_to(&start_subject(&self.id)).await.map_err(subscribed)?;
        let mut stops = bus.subscribe::<Stop>().await.map_err(subscribed)?;
        let mut locates = bus.subscribe::<Locate>().await.map_err(subscribed)?;
        let mut tick = tokio::time::interval(self.tools.config.advertise_interval());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tracing::info!(id = %self.id, "the stager takes requests");
        let result = loop {
            tokio::select! {
                biased;
                // First, or a stager that is kept busy would never end.
                () = shutdown.cancelled() => break Ok(()),
                // Before new ones: room that is free should be known.
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.ended(ended),
                // Before starts: a stop that came first must not stop a later start of the same app.
                stop = stops.next() => match stop {
                    Some(stop) => self.stop(&stop.message),
                    None => break Err(Error::BusClosed),
                },
                start = starts.next() => match start {
                    Some(start) => self.start(start).await,
                    None => break Err(Error::BusClosed),
                },
                locate = locates.next() => match locate {
                    Some(_) => self.advertise().await,
                    None => break Err(Error::BusClosed),
                },
                question = self.questions.next() => {
                    let problems = self.examine().await;
                    question.answer(problems);
                }
                _ = tick.tick() => {
                    self.sweep().await;
                    self.advertise().await;
                }
            }
        };
        self.close().await;
        result
    }

    async fn start(&mut self, incoming: Incoming<Start>) {
        let request = &incoming.message;
        let config = &self.tools.config;
        let room = Room {
            memory: config.staging_memory(request.memory_limit),
            disk: config.staging_disk(request.disk_limit),
        };
        let admitted = match sound_task(&request.task_id) {
            true => self.admission.start(request.task_id.clone(), request.app_id.clone(), room),
            false => Err(Failure::PackageInvalid("the name of the staging is not a name".to_owned())),
        };
        if let Err(failure) = admitted {
            tracing::info!(task = %request.task_id, %failure, "a staging is refused");
            self.tools.figures.refused.increment(1);
            reply::answer(&incoming, reply::failed(request, &failure)).await;
            return;
        }
        let task = request.task_id.clone();
        let stop = CancellationToken::new();
        let handle = self.tasks.spawn(staging::stage(self.tools.clone(), incoming, stop.clone()));
        self.running.insert(handle.id(), (task, stop));
    }

    fn stop(&mut self, stop: &Stop) {
        let tasks = self.admission.stop(&stop.app_id);
        self.cancel(&tasks);
    }

    fn cancel(&self, tasks: &[TaskId]) {
        self.running.values().filter(|(task, _)| tasks.contains(task)).for_each(|(_, stop)| stop.cancel());
    }

    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some((task, _)) = self.running.remove(&id) else { return };
        if let Err(error) = ended {
            tracing::error!(%task, %error, "a staging broke off; its container is destroyed at the next start");
        }
        self.admission.ended(&task);
    }

    async fn close(mut self) {
        self.tools.closing.cancel();
        let tasks = self.admission.close();
        self.cancel(&tasks);
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended);
        }
    }

    /// Brings the figures up to date, and says what is wrong.
    async fn examine(&self) -> Vec<String> {
        let figures = &self.tools.figures;
        let available = self.admission.available();
        figures.running.set(self.running.len() as f64);
        figures.memory_available.set(available.memory.bytes().0 as f64);
        figures.disk_available.set(available.disk.bytes().0 as f64);
        figures.warden_errors.absolute(self.tools.warden.failures());
        let mut problems = Vec::new();
        let warden = self.tools.warden.clone().with_patience(Duration::ZERO);
        let problem = match tokio::time::timeout(WARDEN_LIMIT, warden.ping()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("the warden cannot be used: {error}")),
            Err(_) => Some(format!("the warden has not answered within {} s", WARDEN_LIMIT.as_secs())),
        };
        figures.warden_up.set(f64::from(u8::from(problem.is_none())));
        problems.extend(problem);
        match self.tools.stacks.list() {
            Ok(entries) => {
                let usable = entries.iter().filter(|entry| entry.stack.is_ok()).count();
                figures.stacks.set(usable as f64);
                if usable == 0 {
                    problems.push("this node has no stack: build one with cupola stack build".to_owned());
                }
            }
            Err(error) => problems.push(format!("the stacks cannot be listed: {error}")),
        }
        problems
    }

    /// Says what could still be taken. A stager without a warden or a stack could take nothing: it is silent.
    async fn advertise(&self) {
        let alive = self.tools.warden.clone().with_patience(Duration::ZERO).ping().await;
        let stacks: Vec<String> = match self.tools.stacks.list() {
            Ok(entries) => {
                entries.into_iter().filter(|entry| entry.stack.is_ok()).map(|entry| entry.name).collect()
            }
            Err(error) => {
                tracing::warn!(%error, "the stacks cannot be listed");
                return;
            }
        };
        if let Err(error) = alive {
            tracing::warn!(%error, "the stager does not advertise: the warden does not answer");
            return;
        }
        if stacks.is_empty() {
            tracing::warn!("the stager does not advertise: there is no stack; run `cupola stack build`");
            return;
        }
        let available = self.admission.available();
        let advertise = Advertise {
            id: self.id.clone(),
            stacks,
            available_memory: available.memory,
            available_disk: available.disk,
            buildpacks: self.tools.buildpacks.names().to_vec(),
        };
        if let Err(error) = self.tools.bus.publish(&advertise).await {
            tracing::warn!(%error, "an advertisement was lost");
        }
    }

    /// Destroys, once after a start, the containers that a killed stager of this directory has left.
    async fn sweep(&mut self) {
        if self.swept || !self.tasks.is_empty() {
            return;
        }
        let Ok(handles) = self.tools.warden.clone().with_patience(Duration::ZERO).list().await else {
            return;
        };
        for handle in handles.iter().filter(|handle| handle.starts_with(&self.tools.handle_prefix)) {
            tracing::info!(handle, "a staging container of an earlier run is destroyed");
            container::destroy(&self.tools.warden, handle).await;
        }
        self.swept = true;
    }
}

/// A task's id becomes part of a container's handle.
fn sound_task(task: &TaskId) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&task.as_str().len()) && task.as_str().bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_outlives_a_restart_and_leftovers_do_not() {
        let data = tempfile::tempdir().unwrap();
        let config = Config { data_dir: data.path().to_owned(), ..Config::default() };
        let id = prepare_directory(&config).unwrap();
        let leftover = workspaces(&config).join("staging-x/app");
        fs::create_dir_all(&leftover).unwrap();
        assert_eq!(prepare_directory(&config).unwrap(), id);
        assert!(!leftover.exists() && workspaces(&config).is_dir());
    }

    #[test]
    fn a_task_is_a_name() {
        assert!(sound_task(&TaskId::generate()));
        for task in ["", "a/b", "a b", &"x".repeat(65)] {
            assert!(!sound_task(&task.into()), "{task:?}");
        }
    }
}
