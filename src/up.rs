//! `cupola up`: the whole platform on this machine.

use crate::{
    buildpacks,
    config::{Config, Overrides, Platform},
    leftovers,
    preflight::{self, Ready},
    secrets,
    supervisor::{Service, Supervisor, Wake},
};
use anyhow::{Context, Result, bail};
use nix::unistd::{Uid, User, chown, setsid};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Seek, SeekFrom, Write},
    net::TcpStream,
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        net::UnixStream,
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long each part gets to come up.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long the roles get to end: the node agent ends every app, and each app gets ten seconds.
const ROLES_STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long warden and NATS get to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Last line that a detached platform's log shows when it is up.
const IS_UP: &str = "the platform is up";

/// Flags of `cupola up`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
    /// Return when the platform is up; end it with `cupola down`
    #[arg(long)]
    detach: bool,
    /// What `--detach` starts
    #[arg(long, hide = true)]
    detached: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let config = Config::load(&arguments.overrides)?;
    leftovers::end(&config.platform.process_record())?;
    let ready = preflight::check(&config)?;
    if arguments.detach {
        return detach(&config.platform);
    }
    if arguments.detached {
        setsid().context("cannot leave the terminal's session")?;
    }
    let began = Instant::now();
    prepare(&config, &ready.user)?;
    let mut supervisor = Supervisor::new(config.platform.process_record())?;
    let result = bring_up(&config, &ready, &mut supervisor).and_then(|stopped| {
        if stopped {
            return Ok(());
        }
        println!("{IS_UP} ({:.1} s)", began.elapsed().as_secs_f64());
        while supervisor.wait(Duration::from_secs(3600))? != Wake::Stop {}
        Ok(())
    });
    println!("ending the platform");
    supervisor.stop();
    result
}

/// Starts the parts in order; true when somebody wanted it all to end meanwhile.
fn bring_up(config: &Config, ready: &Ready, supervisor: &mut Supervisor) -> Result<bool> {
    let platform = &config.platform;
    println!("data directory  {}", platform.data_dir.display());
    let socket = platform.warden_socket();
    supervisor.start(warden(platform, ready))?;
    if wait_ready(supervisor, "warden", &socket.display().to_string(), || {
        UnixStream::connect(&socket).is_ok()
    })? {
        return Ok(true);
    }
    if let Some(program) = &ready.nats_server {
        supervisor.start(nats_server(platform, program, &ready.user))?;
        let address = ("127.0.0.1", platform.nats_port);
        if wait_ready(supervisor, "nats-server", &config.bus.servers[0], || greets(address))? {
            return Ok(true);
        }
    }
    let marker = platform.ready_marker();
    supervisor.start(roles(platform, &ready.user))?;
    if wait_ready(supervisor, "roles", "every role", || marker.exists())? {
        return Ok(true);
    }
    print!("{}", fs::read_to_string(&marker).unwrap_or_default());
    Ok(false)
}

/// Whether a NATS server answers: its first line is `INFO {...}`.
fn greets(address: (&str, u16)) -> bool {
    let mut first = [0; 5];
    TcpStream::connect(address)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.read_exact(&mut first)
        })
        .is_ok_and(|()| &first == b"INFO ")
}

fn wait_ready(
    supervisor: &mut Supervisor,
    name: &str,
    place: &str,
    is_ready: impl Fn() -> bool,
) -> Result<bool> {
    let began = Instant::now();
    while !is_ready() {
        if !supervisor.is_alive(name) {
            bail!("{name} has ended while it came up; what it said stands above");
        }
        if began.elapsed() > READY_LIMIT {
            bail!("{name} is not ready after {} s", READY_LIMIT.as_secs());
        }
        if supervisor.wait(LOOK_EVERY)? == Wake::Stop {
            return Ok(true);
        }
    }
    println!("{name:<15} ready in {:>5.2} s  {place}", began.elapsed().as_secs_f64());
    Ok(false)
}

fn warden(platform: &Platform, ready: &Ready) -> Service {
    let (program, config) = (ready.warden.clone(), platform.warden_config_file());
    Service {
        name: "warden",
        command: Box::new(move || {
            let mut command = Command::new(&program);
            command.arg("--config").arg(&config).stdin(Stdio::null());
            command
        }),
        stop_limit: STOP_LIMIT,
    }
}

fn nats_server(platform: &Platform, program: &Path, user: &User) -> Service {
    let (program, config) = (program.to_owned(), platform.nats_config_file());
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    Service {
        name: "nats-server",
        command: Box::new(move || {
            let mut command = Command::new(&program);
            command.arg("--config").arg(&config).stdin(Stdio::null()).uid(uid).gid(gid);
            command
        }),
        stop_limit: STOP_LIMIT,
    }
}

fn roles(platform: &Platform, user: &User) -> Service {
    let config = platform.effective_config_file();
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    Service {
        name: "roles",
        // By way of /proc, since the user may not be able to walk to where this executable lies.
        command: Box::new(move || {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("cupola").arg("run").arg("--config").arg(&config).arg("--all");
            command.stdin(Stdio::null()).uid(uid).gid(gid);
            command
        }),
        stop_limit: ROLES_STOP_LIMIT,
    }
}

/// Makes directories, secrets and the files that the children read.
pub(crate) fn prepare(config: &Config, user: &User) -> Result<()> {
    let platform = &config.platform;
    make_directory(&platform.data_dir, 0o755, None)?;
    make_directory(&platform.run_dir(), 0o755, Some(user))?;
    for name in
        ["secrets", "log", "nats", "controller", "router", "dea", "stager", "service-gateway", "service-node"]
    {
        make_directory(&platform.data_dir.join(name), 0o700, Some(user))?;
    }
    make_directory(&platform.data_dir.join("warden"), 0o700, None)?;
    make_directory(&platform.stacks_dir(), 0o755, None)?;
    let _ = fs::remove_file(platform.ready_marker());
    buildpacks::lay_out(&platform.buildpacks_dir())?;
    if config.owns_bus() {
        let path = platform.nats_password_file();
        let password = secrets::ensure(&path)?;
        own(&path, user)?;
        let text = format!(
            "# Made by `cupola up`, anew at each start.\nlisten: 127.0.0.1:{}\nlog_file: {:?}\nlogfile_size_limit: 10MB\nmax_payload: 1MB\n\
             jetstream {{ store_dir: {:?}, max_memory_store: 16MB, max_file_store: 64MB }}\nauthorization {{ user: cupola, password: \"{password}\" }}\n",
            platform.nats_port,
            platform.data_dir.join("log/nats.log"),
            // For the lease of health managers: a key of some bytes.
            platform.data_dir.join("nats/jetstream"),
        );
        write_private(&platform.nats_config_file(), &text, Some(user))?;
    }
    let warden = toml::to_string_pretty(&config.warden).context("cannot write warden's configuration")?;
    write_private(&platform.warden_config_file(), &warden, None)?;
    let all = toml::to_string_pretty(config).context("cannot write the configuration")?;
    write_private(&platform.effective_config_file(), &all, Some(user))
}

fn make_directory(path: &Path, mode: u32, user: Option<&User>) -> Result<()> {
    let failed = || format!("cannot make the directory {}", path.display());
    fs::create_dir_all(path).with_context(failed)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(failed)?;
    user.map_or(Ok(()), |user| own(path, user))
}

fn own(path: &Path, user: &User) -> Result<()> {
    chown(path, Some(user.uid), Some(user.gid))
        .with_context(|| format!("cannot give {} to {}", path.display(), user.name))
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, text: &str, user: Option<&User>) -> Result<()> {
    let new = path.with_extension("new");
    let failed = || format!("cannot write {}", path.display());
    let _ = fs::remove_file(&new);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    match user {
        Some(user) => own(&new, user)?,
        None => chown(&new, Some(Uid::from_raw(0)), None).with_context(failed)?,
    }
    fs::rename(&new, path).with_context(failed)
}

/// Starts this command again in the background, and shows its output until the platform is up.
fn detach(platform: &Platform) -> Result<()> {
    let path = platform.log_file();
    make_directory(&platform.data_dir, 0o755, None)?;
    make_directory(&platform.data_dir.join("log"), 0o700, None)?;
    let open = || OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path);
    let mut log = open().with_context(|| format!("cannot open the log {}", path.display()))?;
    let mut from = log.seek(SeekFrom::End(0)).context("cannot read the log")?;
    let arguments: Vec<OsString> =
        std::env::args_os().skip(1).map(|a| if a == "--detach" { "--detached".into() } else { a }).collect();
    let mut child = Command::new("/proc/self/exe")
        .arg0("cupola")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(open().context("cannot open the log")?)
        .stderr(open().context("cannot open the log")?)
        .spawn()
        .context("cannot start the platform in the background")?;
    loop {
        let ended = child.try_wait().context("cannot wait for the platform")?;
        let text = read_from(&mut log, &mut from)?;
        print!("{text}");
        std::io::stdout().flush().ok();
        if text.lines().any(|line| line.starts_with(IS_UP)) {
            println!("log             {}", path.display());
            return Ok(());
        }
        if let Some(status) = ended {
            bail!("the platform did not come up ({status}); what it said stands above");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn read_from(log: &mut File, from: &mut u64) -> Result<String> {
    let mut bytes = Vec::new();
    log.seek(SeekFrom::Start(*from))
        .and_then(|_| log.read_to_end(&mut bytes))
        .context("cannot read the log")?;
    // Whole lines only: the rest is read again when it is complete.
    let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    *from += complete as u64;
    Ok(String::from_utf8_lossy(&bytes[..complete]).into_owned())
}
