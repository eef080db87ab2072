//! Leases on a real nats-server with JetStream: who holds, who takes over, and that never two hold at one time.
//!
//! Each contender reaches the server through a relay of its own, which can be cut like a cable: what is sent
//! disappears, and nothing is told.

use cupola_bus::{Bus, Config, Error, Lease, LeaseConfig};
use cupola_protocol::lease::Leased;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use testkit::{NatsServer, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(40);
const TERM: Duration = Duration::from_secs(2);
const ONE: LeaseConfig = LeaseConfig { term: TERM, replicas: 1 };

/// A cable between a contender and the server.
struct Relay {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    async fn to(server: &NatsServer) -> Self {
        let target = server.url().strip_prefix("nats://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, is_cut.clone()));
                tokio::spawn(pass(from_server, to_client, is_cut.clone()));
            }
        });
        Self { address, cut, task }
    }

    fn cut(&self) {
        self.cut.send_replace(true);
    }

    fn heal(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes on; while the cable is cut they wait, as in the buffers of a network that has no way.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 || cut.wait_for(|cut| !cut).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// One contender.
struct Contender {
    lease: Lease,
    shutdown: CancellationToken,
    keeper: JoinHandle<()>,
}

impl Contender {
    async fn start(address: &str, uuid: &str) -> Self {
        let bus = connect(address).await;
        let (lease, keeper) = bus.lease(Leased::HealthManager, uuid, ONE).await.expect("there is JetStream");
        let shutdown = CancellationToken::new();
        let keeper = tokio::spawn(keeper.run(shutdown.clone()));
        Self { lease, shutdown, keeper }
    }

    async fn holds(&self) {
        eventually(PATIENCE, async || match self.lease.standing() {
            standing if standing.held => Ok(()),
            standing => Err(format!("it does not hold the lease: {standing:?}")),
        })
        .await;
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.keeper.await.unwrap();
        assert!(!self.lease.held());
    }
}

async fn connect(address: &str) -> Bus {
    let config = Config { servers: vec![address.to_owned()], ping_interval_seconds: 1, ..Config::default() };
    eventually(PATIENCE, async || Bus::connect(&config, "test").await).await
}

/// Watches several leases, and counts moments at which two were held.
struct Watchman {
    end: Arc<AtomicBool>,
    twice: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchman {
    fn over(leases: Vec<Lease>) -> Self {
        let (end, twice) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (end.clone(), twice.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let held = leases.iter().filter(|lease| lease.held()).count();
                // Two looks are not one moment: what was held at the first may have ended by the second.
                if held > 1 && leases.iter().filter(|lease| lease.held()).count() > 1 {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Self { end, twice, thread: Some(thread) }
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        if !std::thread::panicking() {
            assert_eq!(self.twice.load(Ordering::Relaxed), 0, "two held the lease at one time");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_holds_and_what_it_gives_up_the_other_takes() {
    let nats = NatsServer::start();
    let first = Contender::start(nats.url(), "0-first").await;
    first.holds().await;
    let second = Contender::start(nats.url(), "1-second").await;
    let _watchman = Watchman::over(vec![first.lease.clone(), second.lease.clone()]);
    eventually(PATIENCE, async || match second.lease.standing().other.as_deref() {
        Some("0-first") => Ok(()),
        other => Err(format!("the second sees {other:?}")),
    })
    .await;
    first.end().await;
    second.holds().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_dies_is_replaced() {
    let nats = NatsServer::start();
    let first = Contender::start(nats.url(), "0-first").await;
    first.holds().await;
    let second = Contender::start(nats.url(), "1-second").await;
    let _watchman = Watchman::over(vec![first.lease.clone(), second.lease.clone()]);
    // As kill -9 does it: nobody renews, and nobody is told.
    first.keeper.abort();
    second.holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_cut_off_stops_by_its_own_clock_before_another_begins() {
    let nats = NatsServer::start();
    let (cable, other_cable) = (Relay::to(&nats).await, Relay::to(&nats).await);
    let first = Contender::start(&format!("nats://{}", cable.address), "0-first").await;
    first.holds().await;
    let second = Contender::start(&format!("nats://{}", other_cable.address), "1-second").await;
    let _watchman = Watchman::over(vec![first.lease.clone(), second.lease.clone()]);
    for _ in 0..2 {
        cable.cut();
        second.holds().await;
        assert!(!first.lease.held());
        cable.heal();
        other_cable.cut();
        first.holds().await;
        assert!(!second.lease.held());
        other_cable.heal();
    }
    eventually(PATIENCE, async || match first.lease.standing().trouble {
        None => Ok(()),
        Some(trouble) => Err(trouble),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_ends_no_peace() {
    let mut nats = NatsServer::start();
    let first = Contender::start(nats.url(), "0-first").await;
    first.holds().await;
    let second = Contender::start(nats.url(), "1-second").await;
    let leases = [first.lease.clone(), second.lease.clone()];
    let _watchman = Watchman::over(leases.to_vec());
    // Long enough that the holder must stop, then back with its data; then back without.
    for forgets in [false, true] {
        nats.kill();
        eventually(PATIENCE, async || match leases.iter().any(Lease::held) {
            false => Ok(()),
            true => Err("somebody acts though nobody can renew"),
        })
        .await;
        if forgets {
            nats.forget();
        }
        nats.start_again();
        eventually(PATIENCE, async || match leases.iter().filter(|lease| lease.held()).count() {
            1 => Ok(()),
            holders => Err(format!("{holders} hold the lease")),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_lost_at_a_restart_makes_no_second_holder() {
    let mut nats = NatsServer::start();
    let first = Contender::start(nats.url(), "0-first").await;
    first.holds().await;
    let second = Contender::start(nats.url(), "1-second").await;
    let leases = [first.lease.clone(), second.lease.clone()];
    let _watchman = Watchman::over(leases.to_vec());
    for _ in 0..3 {
        nats.kill();
        nats.forget();
        nats.start_again();
        eventually(PATIENCE, async || match leases.iter().filter(|lease| lease.held()).count() {
            1 if leases.iter().all(|lease| lease.standing().trouble.is_none()) => Ok(()),
            holders => Err(format!("{holders} hold the lease")),
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_without_jetstream_and_a_term_that_cannot_work_are_refused() {
    let nats = NatsServer::start_without_jetstream();
    let bus = connect(nats.url()).await;
    let error = bus.lease(Leased::HealthManager, "0-a", ONE).await.unwrap_err();
    assert!(matches!(error, Error::NoJetStream), "{error}");
    let short = LeaseConfig { term: Duration::from_millis(100), replicas: 1 };
    let error = bus.lease(Leased::HealthManager, "0-a", short).await.unwrap_err();
    assert!(matches!(error, Error::LeaseConfig { .. }), "{error}");
    let two = LeaseConfig { term: TERM, replicas: 2 };
    let error = bus.lease(Leased::HealthManager, "0-a", two).await.unwrap_err();
    assert!(error.to_string().contains("2 replicas"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_replicas_than_servers_are_a_trouble_that_is_told() {
    let nats = NatsServer::start();
    let bus = connect(nats.url()).await;
    let three = LeaseConfig { term: TERM, replicas: 3 };
    let (lease, keeper) = bus.lease(Leased::HealthManager, "0-a", three).await.unwrap();
    let shutdown = CancellationToken::new();
    let keeper = tokio::spawn(keeper.run(shutdown.clone()));
    eventually(PATIENCE, async || match lease.standing().trouble {
        Some(trouble) if trouble.contains("3 replicas") => Ok(()),
        other => Err(format!("the trouble told is {other:?}")),
    })
    .await;
    assert!(!lease.held());
    shutdown.cancel();
    keeper.await.unwrap();
}
