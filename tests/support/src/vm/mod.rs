//! Runs the workspace's privileged tests in a virtual machine with pure cgroup v2: Debian's cloud kernel under
//! qemu, with or without KVM.
//!
//! [`base`] makes what seldom changes (kernel, initramfs, root file system), once, into a cache; [`payload`]
//! builds the tests and packs them with their fixtures into a second disk; [`machine`] boots the two;
//! [`report`] judges what came back. What happens inside is `vm/guest.sh`, of which a run's payload has a copy.

mod base;
mod machine;
mod payload;
mod report;

pub use report::Verdict;

use anyhow::{Context, Result, bail};
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

/// What one run of the virtual machine is to do.
pub struct Options {
    /// Names of the test binaries to run; none means every one whose name begins with `privileged`, but those
    /// of `vm/host-only.txt`.
    pub filter: Vec<String>,
    /// A command for bash in the guest, instead of the tests (which are there nevertheless).
    pub shell: Option<String>,
    /// Show the output of tests that pass, too, and show it while they run.
    pub verbose: bool,
    /// Make the base image again, with the archive's packages of today.
    pub rebuild: bool,
    /// Time limit of one test.
    pub test_timeout: Duration,
    /// Time limit of the machine, boot included.
    pub time_limit: Duration,
    /// Memory of the guest in MiB.
    pub memory_mib: u32,
}

/// Builds what is missing, runs the machine, and says how it went. An error means that the machine could not be
/// run or did not come to an end; failed tests are a [`Verdict`].
pub fn run(options: &Options) -> Result<Verdict> {
    crate::require_root();
    require_tools()?;
    let workspace = payload::Workspace::read()?;
    let cache = cache_directory(&workspace.target);
    fs::create_dir_all(&cache).with_context(|| format!("create the cache {}", cache.display()))?;

    // Two runs that share a cache take turns: they would write the same files.
    let lock = File::create(cache.join("lock")).context("create the cache's lock")?;
    lock.lock().context("lock the cache")?;

    let began = Instant::now();
    let base = base::prepare(&cache, options.rebuild)?;
    step("base image", began);
    let began = Instant::now();
    let payload = payload::pack(&workspace, &cache, options)?;
    step("tests built and packed", began);
    let began = Instant::now();
    let outcome = machine::run(&base, &payload, &cache, options)?;
    step("virtual machine", began);
    Ok(report::judge(&outcome, options.shell.is_some()))
}

/// `CUPOLA_VM_CACHE`, or `vm` in cargo's target directory.
fn cache_directory(target: &Path) -> PathBuf {
    env::var_os("CUPOLA_VM_CACHE").map_or_else(|| target.join("vm"), PathBuf::from)
}

fn step(what: &str, began: Instant) {
    println!("vm: {what}: {:.1} s", began.elapsed().as_secs_f64());
}

/// The programs of the host that this needs, and the Debian package of each.
const TOOLS: [(&str, &str); 5] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("busybox", "busybox-static"),
    ("git", "git"),
];

fn require_tools() -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| !env::split_paths(&path).any(|dir| dir.join(tool).is_file()))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        bail!(
            "the virtual machine needs programs that are not installed: apt-get install {}",
            missing.join(" ")
        );
    }
    Ok(())
}

/// Runs a program to its end; an error names it, its arguments and its status.
fn check(command: &mut Command) -> Result<()> {
    let status: ExitStatus = command.status().with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Like [`check`], and returns what the program wrote.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} wrote something that is not UTF-8"))
}

/// Lines of a data file without comments and empty ones.
fn data_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Makes an ext4 image with the given content. Without a journal: nobody mounts it again after a crash.
fn make_ext4(image: &Path, content: &Path, bytes: u64) -> Result<()> {
    let file = File::create(image).with_context(|| format!("create {}", image.display()))?;
    file.set_len(bytes).with_context(|| format!("size {}", image.display()))?;
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"]).arg(content).arg(image);
    check(&mut mke2fs)
}
