//! A real nats-server, a controller that gives out a desired state over HTTP, and health managers.

use cupola_bus::{Bus, Subscription};
use cupola_protocol::{
    AppId, DeaId, InstanceId, Mebibytes, Subject, Version,
    controller::{BulkApps, BulkCredentials, BulkCredentialsRequest, DesiredApp, DesiredState, PackageState},
    dea::{Heartbeat, InstanceHeartbeat, InstanceState, default_partition},
    droplet::{ExitReason, Exited},
    health::{AppState, AppStateRequest, StartInstance, Started, StopInstance},
};
use health_manager::{Config, Error};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use testkit::{NatsServer, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

type Desired = Arc<Mutex<BTreeMap<AppId, DesiredApp>>>;

/// A health manager that runs.
pub(crate) struct Manager {
    pub(crate) status: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

impl Manager {
    /// Ends it as a signal does.
    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.running).await.expect("does not end").unwrap().unwrap();
    }

    /// Ends it as kill -9 does: without a word.
    pub(crate) async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    /// Whether it says that it acts: `active` in `/metrics`.
    pub(crate) async fn acts(&self) -> bool {
        let url = format!("http://{}/metrics", self.status);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        text.lines().any(|line| line == "cupola_health_manager_active 1")
    }
}

pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) nats: NatsServer,
    pub(crate) managers: Vec<Manager>,
    pub(crate) starts: Subscription<StartInstance>,
    pub(crate) stops: Subscription<StopInstance>,
    desired: Desired,
}

impl World {
    /// Asks for the state of an app until it is as wanted.
    pub(crate) async fn state_until(&self, app: &str, wanted: impl Fn(&AppState) -> bool) {
        let asked = AppStateRequest { droplet: AppId::new(app), version: Version::new("v1") };
        let subject = Subject::of::<AppStateRequest>();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state: AppState = self.bus.request(&subject, &asked, PATIENCE).await.unwrap();
            if wanted(&state) {
                return;
            }
            assert!(Instant::now() < deadline, "the state of {app} is still {state:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// With one health manager, which is told that it is alone.
    pub(crate) async fn new() -> Self {
        let mut world = Self::without_managers().await;
        world.manage(false).await;
        world
    }

    pub(crate) async fn without_managers() -> Self {
        let nats = NatsServer::start();
        let bus = connect(&nats).await;
        let desired = Desired::default();
        serve_controller(&bus, desired.clone()).await;
        let starts = bus.subscribe().await.unwrap();
        let stops = bus.subscribe().await.unwrap();
        bus.flush().await.unwrap();
        Self { bus, nats, managers: Vec::new(), starts, stops, desired }
    }

    /// Starts one more health manager.
    pub(crate) async fn manage(&mut self, lease: bool) {
        let mut asked = self.bus.subscribe::<Started>().await.unwrap();
        self.bus.flush().await.unwrap();
        let server = health_manager::bind(config(lease), connect(&self.nats).await).await.unwrap();
        let shutdown = CancellationToken::new();
        let status = server.status_addr();
        let running = tokio::spawn(server.run(shutdown.clone()));
        self.managers.push(Manager { status, shutdown, running });
        timeout(PATIENCE, asked.next()).await.expect("agents are not asked for heartbeats").unwrap();
    }

    /// Stops to want an app.
    pub(crate) fn forget(&self, app: &str) {
        self.desired.lock().unwrap().remove(&AppId::new(app));
    }

    pub(crate) fn desire(&self, app: &str, instances: u32) {
        let app = DesiredApp {
            id: AppId::new(app),
            version: Version::new("v1"),
            instances,
            memory: Mebibytes(64),
            state: DesiredState::Started,
            package_state: PackageState::Staged,
            updated_at: String::new(),
        };
        self.desired.lock().unwrap().insert(app.id.clone(), app);
    }

    pub(crate) async fn beat(&self, droplets: &[InstanceHeartbeat]) {
        self.bus.publish(&Heartbeat { dea: DeaId::new("dea"), droplets: droplets.to_vec() }).await.unwrap();
    }

    pub(crate) async fn next_start(&mut self) -> StartInstance {
        timeout(PATIENCE, self.starts.next()).await.expect("nothing is started").unwrap().message
    }
}

/// Short times, so that tests are.
pub(crate) fn config(lease: bool) -> Config {
    Config {
        settle_seconds: 0.3,
        grace_seconds: 1.0,
        fetch_seconds: 0.5,
        analysis_seconds: 0.1,
        fetch_batch: 1,
        lease,
        lease_seconds: 2.0,
        status: cupola_status::Config { open_metrics: true, ..Default::default() },
        ..Config::default()
    }
}

pub(crate) async fn connect(nats: &NatsServer) -> Bus {
    let config = cupola_bus::Config { servers: vec![nats.url().to_owned()], ..Default::default() };
    eventually(PATIENCE, async || Bus::connect(&config, "test").await).await
}

/// Gives out credentials, and one app on each page to whoever has them.
async fn serve_controller(bus: &Bus, desired: Desired) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut asked = bus.subscribe::<BulkCredentialsRequest>().await.unwrap();
    tokio::spawn(async move {
        while let Some(asked) = asked.next().await {
            let credentials = BulkCredentials {
                user: "bulk".to_owned(),
                password: "secret".to_owned(),
                url: Some(url.clone()),
            };
            asked.reply(&credentials).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            // `bulk:secret` in base64.
            assert!(request.contains("Basic YnVsazpzZWNyZXQ="), "{request}");
            let page: usize = request
                .split_once("bulk_token=")
                .and_then(|(_, token)| token.split([' ', '&']).next()?.parse().ok())
                .unwrap_or(0);
            let results = desired.lock().unwrap().clone().into_iter().skip(page).take(1).collect();
            let body = serde_json::to_string(&BulkApps { results, bulk_token: serde_json::json!(page + 1) })
                .unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
}

pub(crate) fn beat(app: &str, instance: &str, index: u32, state: InstanceState) -> InstanceHeartbeat {
    InstanceHeartbeat {
        cc_partition: default_partition(),
        droplet: AppId::new(app),
        version: Version::new("v1"),
        instance: InstanceId::new(instance),
        index,
        state,
        state_timestamp: 0.0,
    }
}

pub(crate) fn crashed(app: &str, instance: &str) -> Exited {
    Exited {
        cc_partition: default_partition(),
        droplet: AppId::new(app),
        version: Version::new("v1"),
        instance: InstanceId::new(instance),
        index: 0,
        reason: ExitReason::Crashed,
        exit_status: 1,
        exit_description: String::new(),
        crash_timestamp: None,
    }
}
