//! The health manager on a real bus, with a controller that gives out a desired state over HTTP.

use cupola_bus::{Bus, Subscription};
use cupola_protocol::{
    AppId, DeaId, InstanceId, Mebibytes, Subject, Version,
    controller::{BulkApps, BulkCredentials, BulkCredentialsRequest, DesiredApp, DesiredState, PackageState},
    dea::{Heartbeat, InstanceHeartbeat, InstanceState, default_partition},
    droplet::{ExitReason, Exited, Updated},
    health::{AppState, AppStateRequest, StartInstance, Started, StopInstance},
};
use health_manager::{Config, Error};
use std::{
    collections::BTreeMap,
    net::TcpListener as StdListener,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

type Desired = Arc<Mutex<BTreeMap<AppId, DesiredApp>>>;

struct World {
    bus: Bus,
    desired: Desired,
    starts: Subscription<StartInstance>,
    stops: Subscription<StopInstance>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
    nats: Child,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.nats.kill();
        let _ = self.nats.wait();
    }
}

impl World {
    /// Asks for the state of an app until it is as wanted.
    async fn state_until(&self, app: &str, wanted: impl Fn(&AppState) -> bool) {
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

    async fn new() -> Self {
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let nats = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server must be installed: apt-get install nats-server");
        let config =
            cupola_bus::Config { servers: vec![format!("nats://127.0.0.1:{port}")], ..Default::default() };
        let bus = connect(&config).await;
        let desired = Desired::default();
        serve_controller(&bus, desired.clone()).await;
        let short = Config {
            settle_seconds: 0.3,
            grace_seconds: 1.0,
            fetch_seconds: 0.5,
            analysis_seconds: 0.1,
            fetch_batch: 1,
            lease: false,
            ..Config::default()
        };
        let starts = bus.subscribe().await.unwrap();
        let stops = bus.subscribe().await.unwrap();
        let mut asked = bus.subscribe::<Started>().await.unwrap();
        bus.flush().await.unwrap();
        let server = health_manager::bind(short, connect(&config).await).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        timeout(PATIENCE, asked.next()).await.expect("agents are not asked for heartbeats").unwrap();
        Self { bus, desired, starts, stops, shutdown, running, nats }
    }

    fn desire(&self, app: &str, instances: u32) {
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

    async fn beat(&self, droplets: &[InstanceHeartbeat]) {
        self.bus.publish(&Heartbeat { dea: DeaId::new("dea"), droplets: droplets.to_vec() }).await.unwrap();
    }

    async fn next_start(&mut self) -> StartInstance {
        timeout(PATIENCE, self.starts.next()).await.expect("nothing is started").unwrap().message
    }
}

async fn connect(config: &cupola_bus::Config) -> Bus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Bus::connect(config, "test").await {
            Ok(bus) => return bus,
            Err(error) if Instant::now() > deadline => panic!("nats-server does not come up: {error}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
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

fn beat(app: &str, instance: &str, index: u32, state: InstanceState) -> InstanceHeartbeat {
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

fn crashed(app: &str, instance: &str) -> Exited {
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

#[tokio::test(flavor = "multi_thread")]
async fn missing_instances_are_started_and_a_crash_at_once() {
    let mut world = World::new().await;
    world.desire("app", 1);
    world.desire("other", 1);
    world.beat(&[beat("other", "o", 0, InstanceState::Running)]).await;
    let start = world.next_start().await;
    assert_eq!((start.droplet.as_str(), start.instance_index), ("app", 0));
    let both = [beat("other", "o", 0, InstanceState::Running), beat("app", "i", 0, InstanceState::Running)];
    world.beat(&both).await;
    // Heartbeats and crashes come by two subscriptions: the crash is told when the instance is known.
    world.state_until("app", |state| state.instance_heartbeats.len() == 1).await;

    world.bus.publish(&crashed("app", "i")).await.unwrap();
    let start = world.next_start().await;
    assert_eq!(start.droplet.as_str(), "app");
    world
        .state_until("app", |state| state.crash_counts.first().is_some_and(|crash| crash.crash_count == 1))
        .await;

    world.shutdown.cancel();
    timeout(PATIENCE, &mut world.running).await.expect("does not end").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_gone_is_stopped_as_soon_as_that_is_known() {
    let mut world = World::new().await;
    world.desire("stays", 1);
    world.desire("goes", 1);
    let all = [beat("stays", "s", 0, InstanceState::Running), beat("goes", "g", 0, InstanceState::Running)];
    world.beat(&all).await;
    sleep(Duration::from_millis(700)).await;
    world.desired.lock().unwrap().remove(&AppId::new("goes"));
    let updated = Updated { droplet: AppId::new("goes"), cc_partition: default_partition() };
    world.bus.publish(&updated).await.unwrap();
    let stop = timeout(PATIENCE, world.stops.next()).await.expect("nothing is stopped").unwrap().message;
    assert_eq!((stop.instance_guid.as_str(), stop.is_duplicate), ("g", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_agent_nothing_is_done() {
    let mut world = World::new().await;
    world.desire("app", 1);
    let nothing = timeout(Duration::from_secs(2), world.starts.next()).await;
    assert!(nothing.is_err(), "started {:?}", nothing.unwrap().unwrap().message);
    let asked = AppStateRequest { droplet: AppId::new("app"), version: Version::new("v1") };
    let state: AppState =
        world.bus.request(&Subject::of::<AppStateRequest>(), &asked, PATIENCE).await.unwrap();
    assert_eq!(state, AppState::default());
}
