//! How fast the engine is, beside crun and beside the least that one process must do (`floor.c`): `make bench-warden`.
//! Interleaved rounds over the same root filesystem with the same limits; medians. Needs root, crun and gcc, and the
//! static warden-init, whose path is in `WARDEN_INIT`.
//!
//! Arguments: names of groups (`lifecycle`, `idle`, `net`, `exec`, `rate`, `many`), all when there are none;
//! `--rounds N` (41); `--many N` (1000), the number of idle containers.

mod daemon;
mod figures;
mod rivals;

use cupola_protocol::warden::NetInRequest;
use daemon::{Client, Daemon, bare, whole};
use figures::{Times, figure, row};
use rivals::Rivals;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two rounds of work that follow each other closely.
const SHORT: Duration = Duration::from_millis(3);
/// Between two starts on a node that is not in a burst.
const GAP: Duration = Duration::from_millis(60);
/// Idle time before a creation whose first instruction is waited for.
const IDLE: Duration = Duration::from_millis(50);
/// How long the rate of lifecycles is measured.
const RATE: Duration = Duration::from_secs(5);

struct Bench {
    rivals: Rivals,
    daemon: Daemon,
    client: Client,
    rounds: usize,
    many: usize,
}

fn main() {
    let (mut groups, mut rounds, mut many) = (Vec::new(), 41, 1_000);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number follows");
        match word.as_str() {
            "--bench" => (),
            "--rounds" => rounds = number(),
            "--many" => many = number(),
            _ => groups.push(word),
        }
    }
    assert!(nix::unistd::geteuid().is_root(), "the bench makes containers: run it as root");
    let init = std::env::var_os("WARDEN_INIT").map(PathBuf::from);
    let init = init.expect("WARDEN_INIT names the static warden-init: run `make bench-warden`");
    let directory = tempfile::Builder::new().prefix("warden-bench-").tempdir().expect("make a directory");
    machine();
    let daemon = {
        std::fs::create_dir(directory.path().join("root")).expect("make the root filesystem");
        Daemon::start(directory.path(), &init)
    };
    let rivals = Rivals::prepare(directory.path());
    let client = daemon.client();
    let mut bench = Bench { rivals, daemon, client, rounds, many };
    type Act = fn(&mut Bench);
    let all: [(&str, Act); 6] = [
        ("lifecycle", Bench::lifecycle),
        ("idle", Bench::idle),
        ("net", Bench::net),
        ("exec", Bench::exec),
        ("rate", Bench::rate),
        ("many", Bench::many),
    ];
    for (name, act) in all {
        if groups.is_empty() || groups.iter().any(|group| group == name) {
            println!("\n{name}");
            act(&mut bench);
        }
    }
}

/// What was measured on.
fn machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    println!("Linux {}, {cpus} processors, load {}", kernel.trim(), read("/proc/loadavg").trim());
}

impl Bench {
    fn ours(&mut self) {
        let handle = self.client.create(&bare());
        self.client.run(&handle, "/bin/true");
        self.client.destroy(&handle);
    }

    /// Interleaved lifecycles, `gap` before each.
    fn race(&mut self, gap: Duration) -> [Times; 3] {
        let [mut floor, mut crun, mut ours] = [Times::default(), Times::default(), Times::default()];
        for _ in 0..self.rounds {
            sleep(gap);
            floor.time(|| self.rivals.floor());
            sleep(gap);
            crun.time(|| self.rivals.crun());
            sleep(gap);
            ours.time(|| self.ours());
        }
        for (name, times) in [("floor", &floor), ("crun", &crun), ("warden", &ours)] {
            row(&format!("{name}, {} ms gaps", gap.as_millis()), times);
        }
        [floor, crun, ours]
    }

    fn lifecycle(&mut self) {
        let [floor, crun, ours] = self.race(SHORT);
        figure("lifecycle_vs_crun", ours.median() / crun.median(), "0.2");
        figure("lifecycle_vs_floor", ours.median() / floor.median(), "1.3");
        let (mut create, mut run, mut destroy) = (Times::default(), Times::default(), Times::default());
        for _ in 0..self.rounds {
            sleep(SHORT);
            let handle = create.time(|| self.client.create(&bare()));
            run.time(|| self.client.run(&handle, "/bin/true"));
            destroy.time(|| self.client.destroy(&handle));
        }
        row("  of it: create", &create);
        row("  of it: run", &run);
        row("  of it: destroy", &destroy);
    }

    fn idle(&mut self) {
        let [floor, crun, ours] = self.race(GAP);
        figure("lifecycle_idle_vs_crun", ours.median() / crun.median(), "0.2");
        figure("lifecycle_idle_vs_floor", ours.median() / floor.median(), "none");
        let mut first = Times::default();
        for _ in 0..self.rounds {
            sleep(IDLE);
            let begun = Instant::now();
            let handle = self.client.create(&bare());
            self.client.spawn(&handle, "/bin/true");
            first.push(begun.elapsed());
            self.client.destroy(&handle);
        }
        row("create to first instruction", &first);
        figure("create_p50_ms", first.median(), "4");
        figure("create_p95_ms", first.quantile(0.95), "10");
    }

    fn net(&mut self) {
        let (mut all, mut first, mut destroy) = (Times::default(), Times::default(), Times::default());
        for _ in 0..self.rounds {
            sleep(IDLE);
            let begun = Instant::now();
            let handle = self.client.create(&whole());
            self.client.run(&handle, "/bin/true");
            self.client.destroy(&handle);
            all.push(begun.elapsed());
            sleep(IDLE);
            let begun = Instant::now();
            let handle = self.client.create(&whole());
            self.client.spawn(&handle, "/bin/pause");
            first.push(begun.elapsed());
            destroy.time(|| self.client.destroy(&handle));
        }
        row("lifecycle with network and disk", &all);
        row("create to first instruction", &first);
        row("destroy with a running job", &destroy);
        figure("lifecycle_net_p50_ms", all.median(), "8");
        figure("lifecycle_net_p95_ms", all.quantile(0.95), "25");
        figure("create_net_p50_ms", first.median(), "none");
        figure("destroy_p50_ms", destroy.median(), "10");
    }

    fn exec(&mut self) {
        let handle = self.client.create(&bare());
        let rival = self.rivals.crun_start();
        let (mut ours, mut crun) = (Times::default(), Times::default());
        for _ in 0..self.rounds {
            sleep(SHORT);
            ours.time(|| self.client.run(&handle, "/bin/true"));
            sleep(SHORT);
            crun.time(|| self.rivals.crun_exec(&rival));
        }
        self.rivals.crun_delete(&rival);
        self.client.destroy(&handle);
        row("exec, warden", &ours);
        row("exec, crun", &crun);
        figure("exec_p50_ms", ours.median(), "1.5");
        figure("exec_vs_crun", ours.median() / crun.median(), "0.2");
    }

    fn rate(&mut self) {
        let begun = Instant::now();
        let workers: Vec<_> = (0..2).map(|_| self.daemon.client()).collect();
        let done: usize = std::thread::scope(|scope| {
            let counts: Vec<_> = workers
                .into_iter()
                .map(|mut client| {
                    scope.spawn(move || {
                        let mut count = 0;
                        while begun.elapsed() < RATE {
                            let handle = client.create(&bare());
                            client.run(&handle, "/bin/true");
                            client.destroy(&handle);
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            counts.into_iter().map(|count| count.join().unwrap_or(0)).sum()
        });
        figure("lifecycles_per_s", done as f64 / begun.elapsed().as_secs_f64(), "250");
    }

    fn many(&mut self) {
        let (mut creates, mut handles) = (Times::default(), Vec::new());
        // Twenty that go again, so that what is made once is made.
        for _ in 0..20 {
            let handle = self.client.create(&whole());
            self.client.destroy(&handle);
        }
        let few = self.changes();
        let (used, resident) = (used_kib(), self.daemon.resident());
        let mut crowd = Times::default();
        for number in 1..=self.many {
            handles.push(creates.time(|| self.client.create(&whole())));
            if number == 500 {
                crowd = self.changes();
            }
        }
        sleep(Duration::from_secs(1));
        let count = self.many as f64;
        row("create, of many", &creates);
        row("NetIn, first container", &few);
        figure("idle_kib_per_container", (used_kib() as f64 - used as f64) / count, "1024");
        let grown = self.daemon.resident() as f64 - resident as f64;
        figure("daemon_kib_per_container", grown / count, "50");
        figure("net_change_ms", few.median(), "0.5");
        if self.many >= 500 {
            row("NetIn, 501st container", &crowd);
            figure("net_change_500_vs_0", crowd.median() / few.median(), "1.2");
        }
        let last = creates.part(self.many.saturating_sub(20), self.many).median();
        figure("create_1000th_vs_10th", last / creates.part(0, 20).median(), "1.3");
        let begun = Instant::now();
        for handle in handles {
            self.client.destroy(&handle);
        }
        println!("destroyed in {:.1} s; daemon {}", begun.elapsed().as_secs_f64(), self.daemon.pid());
    }

    /// Ports in of a container of its own.
    fn changes(&mut self) -> Times {
        let mut times = Times::default();
        let handle = self.client.create(&whole());
        for _ in 0..self.rounds {
            let request = NetInRequest { handle: handle.clone(), ..NetInRequest::default() };
            times.time(|| self.client.call(&request));
        }
        self.client.destroy(&handle);
        times
    }
}

/// Memory in use that is no file's page, in KiB: of kernel and programs together.
fn used_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("read /proc/meminfo");
    let of = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of meminfo");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    };
    of("MemTotal") - of("MemFree") - of("Buffers") - (of("Cached") - of("Shmem"))
}
