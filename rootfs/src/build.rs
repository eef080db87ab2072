//! Makes the image of a recipe.

use crate::{
    Error, Package, Receipt, Recipe, Stack, Store,
    sources::{Sources, apt_settings, stack_settings},
    store::digest_of,
};
use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What runs as root in namespaces of its own.
pub(crate) const SCRIPT: &str = include_str!("build.sh");

/// Memory that a build in memory leaves to everyone else.
const SPARE_MEMORY_MIB: u64 = 1024;

/// Lines of output that an error carries.
const LAST_LINES: usize = 20;

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Build again although the stack is up to date.
    pub force: bool,
    /// A file of package sources (one-line or deb822 style) in the stead of the host's.
    pub sources: Option<PathBuf>,
}

/// What a build did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// It made the stack.
    New(Stack),
    /// The stack was there already, of this very recipe.
    Present(Stack),
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Directory and memory are made ready.
    Prepare,
    /// Lists of packages are fetched.
    Lists,
    /// Packages are fetched.
    Download,
    /// The base is unpacked.
    Extract,
    /// Packages are installed.
    Install,
    /// Users, links and sources are put in place.
    Customise,
    /// The recipe's checks run.
    Check,
    /// The image is written.
    Image,
    /// Image and receipt go into the store.
    Store,
}

impl Phase {
    /// The phase in words, for a progress line.
    pub fn words(self) -> &'static str {
        match self {
            Self::Prepare => "preparing",
            Self::Lists => "fetching package lists",
            Self::Download => "downloading packages",
            Self::Extract => "unpacking the base",
            Self::Install => "installing packages",
            Self::Customise => "putting users and links in place",
            Self::Check => "checking",
            Self::Image => "writing the image",
            Self::Store => "storing",
        }
    }

    /// The phase that a line of output begins, if it begins one.
    fn begun_by(line: &str) -> Option<Self> {
        const BEGINNINGS: [(&str, Phase); 9] = [
            ("phase: prepare", Phase::Prepare),
            ("phase: customise", Phase::Customise),
            ("phase: check", Phase::Check),
            ("phase: image", Phase::Image),
            ("I: running apt-get update", Phase::Lists),
            ("I: downloading packages", Phase::Download),
            ("I: extracting archives", Phase::Extract),
            ("I: installing essential packages", Phase::Install),
            ("I: installing remaining packages", Phase::Install),
        ];
        BEGINNINGS.iter().find(|(beginning, _)| line.starts_with(beginning)).map(|(_, phase)| *phase)
    }
}

/// What the caller is told while a build runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process builds in the same store; this one waits for it.
    Waiting,
    /// A phase begins.
    Phase {
        /// Which.
        phase: Phase,
        /// Since the build began.
        elapsed: Duration,
    },
    /// A line that some program printed.
    Line(&'a str),
}

/// Makes the stack of `recipe` in `store`, unless it is there. Needs root. Takes about a minute; `progress` is called
/// as it goes on. A build that fails leaves nothing, and one that is killed leaves files that the next one removes.
pub fn build(
    store: &Store,
    recipe: &Recipe,
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Built, Error> {
    let begun = Instant::now();
    let _lock = store.lock(|| progress(Progress::Waiting))?;
    if !options.force
        && let Some(stack) = store.up_to_date(recipe)?
    {
        return Ok(Built::Present(stack));
    }
    check_host()?;
    let sources = Sources::of_host(&recipe.suite, options.sources.as_deref())?;
    let work = WorkDirectory::create(store)?;
    let tmpfs_mib = choose_tmpfs(recipe, &work.path)?;
    work.fill(recipe, &sources)?;

    run(recipe, &work.path, tmpfs_mib, &mut |line, phase| match phase {
        Some(phase) => progress(Progress::Phase { phase, elapsed: begun.elapsed() }),
        None => progress(Progress::Line(line)),
    })?;

    progress(Progress::Phase { phase: Phase::Store, elapsed: begun.elapsed() });
    let image = work.path.join("image.erofs");
    let (sha256, bytes) = digest_of(&image)?;
    let receipt = Receipt {
        name: recipe.stack.clone(),
        recipe: recipe.name.clone(),
        recipe_digest: recipe.digest(),
        sha256,
        bytes,
        created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        build_seconds: begun.elapsed().as_secs(),
        packages: read_packages(&work.path.join("packages.tsv"))?,
    };
    store.insert(&image, &receipt).map(Built::New)
}

/// Runs the script; tells `line` of every line and of the phase that it begins.
fn run(
    recipe: &Recipe,
    work: &Path,
    tmpfs_mib: u64,
    line: &mut dyn FnMut(&str, Option<Phase>),
) -> Result<(), Error> {
    // setpriv: if we are killed, so is unshare, with it the first process of the pid namespace, and so everything.
    let mut child = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["bash", "-c", &format!("exec 2>&1\n{SCRIPT}"), "cupola-stack-build"])
        .env("WORK", work)
        .env("SUITE", &recipe.suite)
        .env("VARIANT", recipe.variant.as_str())
        .env("PACKAGES", recipe.packages.join(","))
        .env("TMPFS_MIB", tmpfs_mib.to_string())
        .env("LC_ALL", "C.UTF-8")
        .env("TMPDIR", work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(Error::io("start a build in", work))?;
    let output = child.stdout.take().expect("the output was asked for as a pipe");
    let mut phase = Phase::Prepare;
    let mut last = VecDeque::with_capacity(LAST_LINES);
    for text in BufReader::new(output).split(b'\n') {
        let text = text.map_err(Error::io("read the output of a build in", work))?;
        let text = String::from_utf8_lossy(&text);
        let begun = Phase::begun_by(&text);
        if let Some(begun) = begun {
            phase = begun;
        }
        line(&text, begun);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(text.into_owned());
    }
    let status = child.wait().map_err(Error::io("wait for a build in", work))?;
    if status.success() {
        return Ok(());
    }
    let lines = last.into_iter().map(|line| format!("  {line}\n")).collect();
    Err(Error::Build { stack: recipe.stack.clone(), phase: phase.words(), status, lines })
}

/// Root, and the programs that do the work.
fn check_host() -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    for program in ["mmdebstrap", "mkfs.erofs", "unshare", "setpriv"] {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            return Err(Error::ProgramMissing { program });
        }
    }
    Ok(())
}

/// Size of the tmpfs in MiB, or 0 where memory does not suffice and the disk does: there a build takes four
/// times as long, because dpkg waits for the disk.
fn choose_tmpfs(recipe: &Recipe, work: &Path) -> Result<u64, Error> {
    let disk_mib = nix::sys::statvfs::statvfs(work)
        .map(|figures| (figures.blocks_available() * figures.fragment_size()) >> 20)
        .map_err(|errno| Error::io("measure", work)(errno.into()))?;
    let memory_mib = available_memory_mib();
    let in_memory = memory_mib >= recipe.tree_mib + SPARE_MEMORY_MIB;
    let needed_mib = if in_memory { recipe.image_mib } else { recipe.image_mib + recipe.tree_mib };
    tracing::debug!(stack = recipe.stack, disk_mib, memory_mib, in_memory, "chose where to build");
    if disk_mib < needed_mib {
        return Err(Error::NoSpace { path: work.to_owned(), available_mib: disk_mib, needed_mib });
    }
    Ok(if in_memory { recipe.tree_mib } else { 0 })
}

fn available_memory_mib() -> u64 {
    let figures = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = figures.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) >> 10
}

fn read_packages(file: &Path) -> Result<Vec<Package>, Error> {
    let text = fs::read_to_string(file).map_err(Error::io("read the list of packages", file))?;
    let package = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        Some(Package { name: fields.next()?, version: fields.next()?, architecture: fields.next()? })
    };
    Ok(text.lines().filter_map(package).collect())
}

/// The directory of one build; removed with the value.
struct WorkDirectory {
    path: PathBuf,
}

impl WorkDirectory {
    /// Only one build runs in a store at a time, so whatever stands there is a killed one's.
    fn create(store: &Store) -> Result<Self, Error> {
        let path = store.folder().join(".build");
        remove(&path)?;
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Ok(Self { path })
    }

    fn fill(&self, recipe: &Recipe, sources: &Sources) -> Result<(), Error> {
        let settings = apt_settings();
        let checks: String = recipe.checks.iter().map(|check| format!("{check}\n")).collect();
        self.write("sources.list", &sources.for_the_build())?;
        self.write("stack-sources.list", &sources.for_the_stack())?;
        self.write("apt.conf", &settings)?;
        self.write("stack-apt.conf", &stack_settings(&settings))?;
        self.write("checks", &checks)
    }

    /// Mode 0600: sources and settings may carry credentials.
    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::io("write", path))
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a build directory stays until the next build");
        }
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_from_the_output() {
        assert_eq!(Phase::begun_by("I: downloading packages with apt..."), Some(Phase::Download));
        assert_eq!(Phase::begun_by("phase: image"), Some(Phase::Image));
        assert_eq!(Phase::begun_by("phase: packages"), None);
        assert_eq!(Phase::begun_by("Setting up python3 (3.11.2-1+b1) ..."), None);
    }

    #[test]
    fn too_little_space_is_said_before_anything_is_fetched() {
        let data = tempfile::tempdir().unwrap();
        let mut recipe = Recipe::named("minimal").unwrap();
        recipe.image_mib = u64::MAX >> 1;
        let error = choose_tmpfs(&recipe, data.path()).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    }
}
