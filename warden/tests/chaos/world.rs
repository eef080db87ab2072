//! A daemon with bystanders: containers that nothing is done to, and that must be unharmed whatever dies.

use crate::scene::{Setup, Warden, eventually};
use inventory::Inventory;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use warden_client::message::{CreateRequest, GRACE_NEVER};
use warden_client::{Output, StopMode};

/// A container that counts, serves a port, and has limits.
pub(crate) const KEEP: &str = "keep";
/// A container that has been stopped.
pub(crate) const REST: &str = "rest";

/// Bytes of memory of the first bystander.
const MEMORY: u64 = 200 << 20;
/// Share of the processor of the first bystander.
const SHARES: u64 = 700;

/// Says `inside` to whoever connects to port 8080 of the container.
const SERVER: &str = "exec python3 -c \"import socket\ns=socket.create_server(('0.0.0.0',8080))\nprint('up',flush=True)\n\
                      while True:\n c,_=s.accept();c.sendall(b'inside');c.close()\"";

/// Counts lines, for ever.
const COUNTER: &str = "i=0; while :; do echo line $((i++)); sleep 0.02; done";

/// A daemon, its bystanders, and what the machine had when all were settled.
pub(crate) struct World {
    pub(crate) warden: Warden,
    before: Inventory,
    counter: u32,
    /// How far the counter's output has been read, what of the last line has come, and the next line's number.
    read: (u64, String, usize),
    port: u32,
}

impl World {
    /// A daemon with pools so small that a number that is lost is missed soon.
    pub(crate) async fn begin() -> Self {
        let top = format!("grace_time = {GRACE_NEVER}\nstop_timeout = 2\n");
        let mut warden = Warden::start_as(Setup { top: &top, ..Setup::default() }).await;
        for handle in [KEEP, REST] {
            warden.create(CreateRequest { handle: Some(handle.into()), ..Default::default() }).await;
        }
        warden.client.stop(REST, StopMode::Kill).await.unwrap();
        warden.client.limit_memory(KEEP, Some(MEMORY)).await.unwrap();
        warden.client.limit_cpu(KEEP, Some(SHARES)).await.unwrap();
        let port = serve(&warden, KEEP).await;
        let counter = warden.spawn(KEEP, COUNTER).await;
        // The files that a first job, a first copy and the like leave are not what is being looked for.
        warden.say(KEEP, "true").await;
        // A daemon that has taken them over is what later ones are compared with.
        warden.kill_and_restart().await;
        let before = warden.stock();
        let mut world = World { warden, before, counter, read: (0, String::new(), 0), port };
        world.settle();
        world.bystanders().await;
        world
    }

    /// Tells the daemon and its spawner what shall happen at a fault point.
    pub(crate) fn arm(&self, fault: &str) {
        fs::write(self.warden.fault(), fault).unwrap();
    }

    /// Nothing shall happen any more.
    pub(crate) fn disarm(&self) {
        let _ = fs::remove_file(self.warden.fault());
    }

    /// Where the names of passed points go.
    pub(crate) fn trace(&self) -> PathBuf {
        self.warden.path().join("trace")
    }

    /// Kills the daemon, if it is not dead yet, and starts another without a fault.
    pub(crate) async fn restart(&mut self) {
        self.disarm();
        self.warden.kill_and_restart().await;
    }

    /// The bystanders are as they were: running, counting without a gap, reachable, limited.
    pub(crate) async fn bystanders(&mut self) {
        let client = self.warden.client.clone();
        let info = client.info(KEEP).await.unwrap_or_else(|error| panic!("{error}\n{}", self.warden.log()));
        assert_eq!(info.state.as_deref(), Some("active"));
        assert!(info.job_ids.contains(&u64::from(self.counter)), "the counter runs: {:?}", info.job_ids);
        assert_eq!(info.ports, [format!("{}:8080", self.port)]);
        let mut stream = client.stream(KEEP, self.counter, Some(self.read.0)).await.unwrap();
        let Some(Output::Data { bytes, offset, .. }) = stream.next().await.unwrap() else {
            panic!("the counter has ended");
        };
        assert_eq!(offset, self.read.0 + bytes.len() as u64, "the output goes on where it was");
        self.read.0 = offset;
        self.read.1 += std::str::from_utf8(&bytes).unwrap();
        while let Some((line, rest)) = self.read.1.split_once('\n') {
            assert_eq!(line, format!("line {}", self.read.2), "no line is lost or doubled");
            self.read.2 += 1;
            self.read.1 = rest.to_owned();
        }
        assert_eq!(ask(&info.host_ip.unwrap(), self.port), "inside", "the port leads in");
        assert_eq!(client.limit_memory(KEEP, None).await.unwrap(), MEMORY);
        assert_eq!(client.limit_cpu(KEEP, None).await.unwrap(), SHARES);
        assert_eq!(self.warden.say(KEEP, "echo alive").await, "alive");
        assert_eq!(client.info(REST).await.unwrap().state.as_deref(), Some("stopped"));
    }

    /// Nothing but the bystanders is there, and the machine is as it was when they were made.
    pub(crate) async fn nothing_else(&mut self, what: &str) {
        assert_eq!(self.warden.client.list().await.unwrap(), [KEEP, REST], "{what}");
        if let Err(difference) = self.before.settle(self.warden.scope()) {
            panic!("{what}: (+ is new, - is gone)\n{difference}\n{}", self.warden.log());
        }
    }

    /// Ends everything; then the machine must have nothing of it.
    pub(crate) async fn end(mut self) {
        for handle in [KEEP, REST] {
            self.warden.client.destroy(handle).await.unwrap();
        }
        self.warden.end();
        eventually("nothing of the platform is left", async || self.warden.inventory().is_empty()).await;
    }

    /// Takes stock until two inventories in a row are the same.
    fn settle(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = self.warden.stock();
            let difference = self.before.difference(&now);
            self.before = now;
            if difference.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "the machine does not come to rest: {difference:?}");
        }
    }
}

/// Starts a server in a container and leads a port of the host to it.
pub(crate) async fn serve(warden: &Warden, handle: &str) -> u32 {
    let ports = warden.client.net_in(handle, None, Some(8080)).await.unwrap();
    listen(warden, handle).await;
    ports.host_port
}

/// Starts a server in a container, and waits until it is there.
pub(crate) async fn listen(warden: &Warden, handle: &str) {
    let job = warden.spawn(handle, SERVER).await;
    warden.client.stream(handle, job, None).await.unwrap().next().await.unwrap();
}

/// What is said on a port of the host; the error's text when nobody answers.
pub(crate) fn ask(address: &str, port: u32) -> String {
    let said = TcpStream::connect((address, port as u16)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    said.unwrap_or_else(|error| error.to_string())
}
