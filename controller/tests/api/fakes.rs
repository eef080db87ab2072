//! A stager and nodes that behave as the real ones do on the bus and over HTTP, without containers.

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, Uri},
    routing::get,
};
use cupola_bus::Bus;
use cupola_protocol::{
    AppId, DeaId, InstanceId, Mebibytes, StagerId, Version,
    dea::{self, InstanceState},
    droplet::{ExitReason, Exited},
    logs::{self, LogLine, Source, Stream},
    staging::{self, ErrorInfo, Reply},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The stack of both.
pub(crate) const STACK: &str = "bookworm";

/// Stages apps that have a Procfile; its words say how it goes: `fail` fails, `hang` never ends, `hang once` does not
/// end the first time.
pub(crate) struct FakeStager {
    pub seen: Arc<Mutex<Vec<staging::Start>>>,
    _stop: DropGuard,
}

impl FakeStager {
    pub(crate) async fn start(bus: &Bus) -> Self {
        let id = StagerId::new("stager-1");
        let (bus, seen) = (bus.clone(), Arc::new(Mutex::new(Vec::new())));
        let mut starts = bus.subscribe_to::<staging::Start>(&staging::start_subject(&id)).await.unwrap();
        let mut locates = bus.subscribe::<staging::Locate>().await.unwrap();
        let ad = staging::Advertise {
            id,
            stacks: vec![STACK.to_owned()],
            available_memory: Mebibytes(4096),
            available_disk: Mebibytes(16384),
            buildpacks: vec!["staticfile".to_owned(), "procfile".to_owned()],
        };
        bus.publish(&ad).await.unwrap();
        bus.flush().await.unwrap();
        let stop = CancellationToken::new();
        let (token, list) = (stop.clone(), seen.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = token.cancelled() => return,
                    Some(_) = locates.next() => bus.publish(&ad).await.unwrap(),
                    Some(start) = starts.next() => {
                        let again = {
                            let mut list = list.lock().unwrap();
                            list.push(start.message.clone());
                            list.iter().filter(|one| one.app_id == start.message.app_id).count() > 1
                        };
                        let bus = bus.clone();
                        tokio::spawn(async move { stage(&bus, start, again).await });
                    }
                }
            }
        });
        Self { seen, _stop: stop.drop_guard() }
    }
}

impl FakeStager {
    /// Whether it was asked so many times, no more, each time under another name.
    pub(crate) fn starts(&self, wanted: usize) -> Result<(), String> {
        let seen = self.seen.lock().unwrap();
        let names: std::collections::BTreeSet<_> = seen.iter().map(|start| start.task_id.clone()).collect();
        if seen.len() == wanted && names.len() == wanted { Ok(()) } else { Err(format!("{names:?}")) }
    }
}

fn reply(start: &staging::Start, done: bool) -> Reply {
    Reply {
        task_id: start.task_id.clone(),
        app_id: Some(start.app_id.clone()),
        done,
        detected_buildpack: None,
        buildpack_key: None,
        detected_start_command: None,
        procfile: None,
        droplet_sha1: None,
        droplet_sha256: None,
        error: None,
        error_info: None,
    }
}

async fn stage(bus: &Bus, request: cupola_bus::Incoming<staging::Start>, again: bool) {
    let start = &request.message;
    request.reply(&reply(start, false)).await.unwrap();
    let client = reqwest::Client::new();
    let package = client.get(&start.download_uri).send().await.unwrap().error_for_status().unwrap();
    let package = package.bytes().await.unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(package.clone())).unwrap();
    let mut command = String::new();
    if let Ok(mut procfile) = archive.by_name("Procfile") {
        procfile.read_to_string(&mut command).unwrap();
    }
    let line = LogLine {
        app: start.app_id.clone(),
        instance_id: "0".to_owned(),
        source_type: Source::Staging,
        stream: Stream::Out,
        timestamp: now_nanos(),
        message: "compiling".to_owned(),
    };
    bus.publish_to(&logs::subject(&start.app_id), &line).await.unwrap();
    let upload = async |bytes: Vec<u8>| {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let post = client.post(&start.upload_uri).header("x-droplet-sha256", &sha256).body(bytes);
        post.send().await.unwrap().error_for_status().unwrap();
        sha256
    };
    let failed = |kind: &str, message: &str| Reply {
        error: Some(message.to_owned()),
        error_info: Some(ErrorInfo {
            kind: kind.to_owned(),
            message: message.to_owned(),
            phase: Some("compile".to_owned()),
            exit_status: Some(3),
            last_lines: vec!["it broke".to_owned()],
        }),
        ..reply(start, true)
    };
    let answer = match command.as_str() {
        "" => failed("NoAppDetectedError", "no buildpack matches this app"),
        "hang" => return,
        "hang once" if !again => return,
        "fail" => {
            // Late enough to have uploaded: what was sent must go again.
            upload(b"half a droplet".to_vec()).await;
            let cache = start.buildpack_cache_upload_uri.as_ref().unwrap();
            client.post(cache).body("cache").send().await.unwrap().error_for_status().unwrap();
            failed("BuildpackCompileFailed", "the buildpack failed")
        }
        _ => {
            let cache = start.buildpack_cache_upload_uri.as_ref().unwrap();
            client.post(cache).body("cache").send().await.unwrap().error_for_status().unwrap();
            let sha256 = upload([b"droplet of ", package.as_ref()].concat()).await;
            Reply {
                detected_buildpack: Some("a procfile".to_owned()),
                buildpack_key: Some("procfile".to_owned()),
                detected_start_command: Some(command.trim_start_matches("web: ").to_owned()),
                droplet_sha256: Some(sha256),
                ..reply(start, true)
            }
        }
    };
    request.reply(&answer).await.unwrap();
}

fn now_nanos() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// One instance on a fake node.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub id: InstanceId,
    pub start: dea::Start,
    pub state: InstanceState,
}

/// What a fake node is and has.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub instances: Vec<Instance>,
    pub updates: Vec<dea::Update>,
    /// Refuses every start with these words.
    pub refuses: Option<String>,
    /// Files of every instance, by path.
    pub files: BTreeMap<String, String>,
    /// Queries of requests for files, without what is signed.
    pub asked: Vec<String>,
    /// Where files are served.
    files_at: String,
}

/// A node: fetches droplets, holds instances, answers, stops them.
pub(crate) struct FakeDea {
    pub id: DeaId,
    pub node: Arc<Mutex<Node>>,
    bus: Bus,
    memory: u64,
    _stop: DropGuard,
}

impl FakeDea {
    pub(crate) async fn start(bus: &Bus, id: &str, memory: u64) -> Self {
        let (id, node) = (DeaId::new(id), Arc::new(Mutex::new(Node::default())));
        let mut starts = bus.subscribe_to::<dea::Start>(&dea::start_subject(&id)).await.unwrap();
        let mut stops = bus.subscribe::<dea::Stop>().await.unwrap();
        let mut finds = bus.subscribe::<dea::FindDroplet>().await.unwrap();
        let mut updates = bus.subscribe::<dea::Update>().await.unwrap();
        let mut locates = bus.subscribe::<dea::Locate>().await.unwrap();
        node.lock().unwrap().files_at = serve_files(node.clone()).await;
        let stop = CancellationToken::new();
        let token = stop.clone();
        let fake =
            Self { id: id.clone(), node: node.clone(), bus: bus.clone(), memory, _stop: stop.drop_guard() };
        fake.advertise().await;
        let bus = bus.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    // A stop that came before a start is done before it, as on a wire.
                    biased;
                    () = token.cancelled() => return,
                    Some(stop) = stops.next() => {
                        node.lock().unwrap().instances.retain(|one| !matches(one, &stop.message));
                    }
                    Some(_) = locates.next() => bus.publish(&advertisement(&id, &node, memory)).await.unwrap(),
                    Some(start) = starts.next() => {
                        let answer = begin(&id, &node, memory, &start.message).await;
                        start.reply(&answer).await.unwrap();
                    }
                    Some(update) = updates.next() => node.lock().unwrap().updates.push(update.message),
                    Some(find) = finds.next() => {
                        let found: Vec<_> = {
                            let node = node.lock().unwrap();
                            let found = node.instances.iter().filter(|one| is_found(one, &find.message));
                            found.map(|one| shown(&id, one, find.message.path.as_deref(), &node.files_at)).collect()
                        };
                        for one in found {
                            find.reply(&one).await.unwrap();
                        }
                    }
                }
            }
        });
        fake
    }

    pub(crate) async fn advertise(&self) {
        self.bus.publish(&advertisement(&self.id, &self.node, self.memory)).await.unwrap();
        self.bus.flush().await.unwrap();
    }

    pub(crate) fn instances(&self) -> Vec<Instance> {
        self.node.lock().unwrap().instances.clone()
    }

    pub(crate) fn refuse(&self, words: &str) {
        self.node.lock().unwrap().refuses = Some(words.to_owned());
    }

    /// An instance ends by itself.
    pub(crate) async fn crash(&self, index: u32) {
        let one = {
            let mut node = self.node.lock().unwrap();
            let one = node.instances.iter_mut().find(|one| one.start.index == index).expect("it is here");
            one.state = InstanceState::Crashed;
            one.clone()
        };
        let news = Exited {
            cc_partition: dea::default_partition(),
            droplet: one.start.droplet.clone(),
            version: one.start.version.clone(),
            instance: one.id.clone(),
            index,
            reason: ExitReason::Crashed,
            exit_status: 137,
            exit_description: "out of memory".to_owned(),
            crash_timestamp: Some(1.0),
        };
        self.bus.publish(&news).await.unwrap();
    }

    /// Waits until the node has instances of these indices, in any order.
    pub(crate) async fn until_indices(&self, wanted: &[u32]) -> Vec<Instance> {
        let deadline = std::time::Instant::now() + super::platform::PATIENCE;
        loop {
            let instances = self.instances();
            let mut indices: Vec<_> = instances.iter().map(|one| one.start.index).collect();
            indices.sort_unstable();
            if indices == wanted {
                return instances;
            }
            assert!(std::time::Instant::now() < deadline, "the node has {indices:?}, not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn advertisement(id: &DeaId, node: &Mutex<Node>, memory: u64) -> dea::Advertise {
    let node = node.lock().unwrap();
    let used: u64 = node.instances.iter().map(|one| one.start.limits.mem.0).sum();
    let mut app_id_to_count: BTreeMap<AppId, u32> = BTreeMap::new();
    for one in &node.instances {
        *app_id_to_count.entry(one.start.droplet.clone()).or_default() += 1;
    }
    dea::Advertise {
        id: id.clone(),
        stacks: vec![STACK.to_owned()],
        available_memory: Mebibytes(memory.saturating_sub(used)),
        available_disk: Mebibytes(100_000),
        app_id_to_count,
        placement_properties: dea::Placement::default(),
        total_memory: Some(Mebibytes(memory)),
        total_disk: Some(Mebibytes(100_000)),
    }
}

async fn begin(id: &DeaId, node: &Mutex<Node>, memory: u64, start: &dea::Start) -> dea::StartReply {
    let refuse = |words: String| dea::StartReply { dea: id.clone(), instance: None, error: Some(words) };
    if let Some(words) = node.lock().unwrap().refuses.clone() {
        return refuse(words);
    }
    if advertisement(id, node, memory).available_memory < start.limits.mem {
        return refuse("not enough memory".to_owned());
    }
    let droplet = reqwest::get(&start.executable_uri).await.unwrap();
    if !droplet.status().is_success() {
        return refuse(format!("the droplet answers {}", droplet.status()));
    }
    let sha256 = hex::encode(Sha256::digest(droplet.bytes().await.unwrap()));
    if Some(&sha256) != start.sha256.as_ref() {
        return refuse("the droplet is another one".to_owned());
    }
    let one = Instance { id: InstanceId::generate(), start: start.clone(), state: InstanceState::Running };
    node.lock().unwrap().instances.push(one.clone());
    dea::StartReply { dea: id.clone(), instance: Some(one.id), error: None }
}

fn within<T: PartialEq>(filter: Option<&Vec<T>>, value: &T) -> bool {
    filter.is_none_or(|list| list.contains(value))
}

fn matches(one: &Instance, stop: &dea::Stop) -> bool {
    one.start.droplet == stop.droplet
        && stop.version.as_ref().is_none_or(|version: &Version| *version == one.start.version)
        && within(stop.instances.as_ref(), &one.id)
        && within(stop.indices.as_ref(), &one.start.index)
        && within(stop.states.as_ref(), &one.state)
}

fn is_found(one: &Instance, find: &dea::FindDroplet) -> bool {
    one.start.droplet == find.droplet
        && find.version.as_ref().is_none_or(|version| *version == one.start.version)
        && within(find.instances.as_ref(), &one.id)
        && within(find.indices.as_ref(), &one.start.index)
        && within(find.states.as_ref(), &one.state)
}

/// Serves the files of a node, at addresses that say `hmac=good`.
async fn serve_files(node: Arc<Mutex<Node>>) -> String {
    let answer = async |Query(query): Query<BTreeMap<String, String>>,
                        uri: Uri,
                        State(node): State<Arc<Mutex<Node>>>| {
        let mut node = node.lock().unwrap();
        let path = query["path"].clone();
        assert_eq!(query["hmac"], "good");
        node.asked.push(uri.query().unwrap().split_once("hmac=good").unwrap().1.to_owned());
        match node.files.get(&path) {
            Some(content) => Ok(content.clone()),
            None => Err((
                StatusCode::NOT_FOUND,
                format!("there is no file or directory {path:?} in the instance\n"),
            )),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let routes = Router::new().route("/instance_paths/{instance}", get(answer)).with_state(node);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    at
}

fn shown(id: &DeaId, one: &Instance, path: Option<&str>, files_at: &str) -> dea::FoundDroplet {
    let signed = path.map(|path| format!("/instance_paths/{}?path={path}&timestamp=1&hmac=good", one.id));
    let stats = (one.state == InstanceState::Running).then(|| dea::InstanceStats {
        name: one.start.name.clone(),
        uris: one.start.uris.clone(),
        host: "10.0.0.1".to_owned(),
        port: 61_001,
        uptime: 5,
        mem_quota: one.start.limits.mem.bytes(),
        disk_quota: one.start.limits.disk.bytes(),
        fds_quota: one.start.limits.fds,
        usage: dea::Usage {
            time: "2026-01-01T00:00:00Z".to_owned(),
            cpu: 0.5,
            mem: cupola_protocol::Bytes(1 << 20),
            disk: cupola_protocol::Bytes(1 << 21),
        },
    });
    dea::FoundDroplet {
        dea: id.clone(),
        droplet: one.start.droplet.clone(),
        version: one.start.version.clone(),
        instance: one.id.clone(),
        index: one.start.index,
        state: one.state,
        state_timestamp: 1.0,
        stats,
        exit_description: None,
        staged: path.map(|_| format!("/{}", one.id)),
        file_uri_v2: signed.as_ref().map(|signed| format!("http://{id}.apps.test{signed}")),
        file_uri_direct: signed.map(|signed| format!("http://{files_at}{signed}")),
    }
}
