//! The second disk: the test binaries, the platform's programs and the workspace's files, for one run.

use super::{Options, check, data_lines, make_ext4, output};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const GUEST: &str = include_str!("../../vm/guest.sh");
const HOST_ONLY: &str = include_str!("../../vm/host-only.txt");
/// What binaries of the tests that may run here are called.
const PREFIX: &str = "privileged";
const INIT_TARGET: &str = "x86_64-unknown-linux-gnu";
/// How many times as long as on the host things may take: what tests multiply their patience by. An instruction of the
/// emulated processor takes about ten times as long.
const SLOWNESS: u32 = 10;
/// Free space on the disk, for what tests write beside their fixtures.
const SPARE_BYTES: u64 = 256 << 20;

/// The cargo workspace that is tested.
pub(super) struct Workspace {
    root: PathBuf,
    pub(super) target: PathBuf,
    /// Where the tests keep what is costly to make: `CUPOLA_CACHE`, or `target/cache`.
    cache: PathBuf,
    /// Name of each privileged test binary, and the package that has it.
    tests: BTreeMap<String, BTreeSet<String>>,
}

/// A test binary that cargo built.
struct Test {
    name: String,
    executable: PathBuf,
    package_root: PathBuf,
}

/// Files of a stack in its store: the link that is its name, what it leads to, and the receipt beside that.
struct Stack {
    link: PathBuf,
    image: PathBuf,
    receipt: PathBuf,
}

impl Workspace {
    /// Asks cargo about the workspace which this crate belongs to.
    pub(super) fn read() -> Result<Self> {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let text = output(cargo().args([
            "metadata",
            "--no-deps",
            "--format-version=1",
            "--manifest-path",
            manifest,
        ]))?;
        let metadata: Value = serde_json::from_str(&text).context("parse the answer of cargo metadata")?;
        let mut tests = BTreeMap::<_, BTreeSet<_>>::new();
        for package in list(&metadata["packages"]) {
            for target in list(&package["targets"]).filter(|target| has_kind(target, "test")) {
                let name = string(&target["name"])?;
                if name.starts_with(PREFIX) {
                    tests.entry(name.to_owned()).or_default().insert(string(&package["name"])?.to_owned());
                }
            }
        }
        let root = PathBuf::from(string(&metadata["workspace_root"])?);
        let target = PathBuf::from(string(&metadata["target_directory"])?);
        let cache = env::var_os("CUPOLA_CACHE").map_or_else(|| root.join("target/cache"), PathBuf::from);
        for path in [&root, &target, &cache] {
            // The guest's script reads paths from lines of words.
            if path.to_string_lossy().contains(char::is_whitespace) {
                bail!(
                    "{} has white space in its name, which the virtual machine's plan cannot hold",
                    path.display()
                );
            }
        }
        Ok(Self { root, target, cache, tests })
    }

    /// The binaries to run: those asked for, or all but those that cannot run in the machine, which it says.
    fn select(&self, filter: &[String]) -> Result<Vec<&str>> {
        if filter.is_empty() {
            let host_only: BTreeMap<_, _> =
                data_lines(HOST_ONLY).filter_map(|line| line.split_once(char::is_whitespace)).collect();
            for (name, reason) in &host_only {
                println!("vm: {name} runs on the host alone: {}", reason.trim());
            }
            return Ok(self
                .tests
                .keys()
                .map(String::as_str)
                .filter(|name| !host_only.contains_key(name))
                .collect());
        }
        let known = || self.tests.keys().cloned().collect::<Vec<_>>().join(", ");
        filter
            .iter()
            .map(|name| match self.tests.get_key_value(name) {
                Some((name, _)) => Ok(name.as_str()),
                None => bail!("the workspace has no test binary {name}; it has: {}", known()),
            })
            .collect()
    }
}

/// Builds the chosen tests and everything that they run, and makes the disk. Returns its path.
pub(super) fn pack(workspace: &Workspace, cache: &Path, options: &Options) -> Result<PathBuf> {
    let names = workspace.select(&options.filter)?;
    let programs = build_programs(workspace)?;
    let tests = build_tests(workspace, &names)?;
    let init = build_init(workspace)?;
    let stack = build_stack(workspace)?;

    let stage = cache.join("payload.d");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("remove {}", stage.display()))?;
    }
    let tree = stage.join("tree");
    let files = output(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&workspace.root),
    )?;
    // A file may be deleted and not yet committed so: that is no file of the workspace any more.
    for file in files.split('\0').map(|file| workspace.root.join(file)).filter(|file| file.is_file()) {
        stage_file(&file, &tree, &file)?;
    }
    for program in tests.iter().map(|test| &test.executable).chain(&programs) {
        stage_file(program, &tree, program)?;
    }
    stage_file(&init, &tree, &init)?;
    // Where `make build` puts it: the daemon looks for the init beside itself.
    stage_file(&init, &tree, &workspace.target.join("debug/warden-init"))?;
    let Stack { link, image, receipt } = stack;
    for file in [&image, &receipt] {
        stage_file(file, &tree, file)?;
    }
    let staged = beneath(&tree, &link);
    symlink(image.file_name().unwrap_or_default(), &staged)
        .with_context(|| format!("link {}", staged.display()))?;

    let mut plan = String::new();
    for Test { name, executable, package_root } in &tests {
        plan += &format!("{name} {} {}\n", executable.display(), package_root.display());
    }
    let mut binds = format!("{}\n", workspace.root.display());
    let stacks = workspace.cache.join("stacks");
    for outside in [&workspace.target, &stacks].iter().filter(|path| !path.starts_with(&workspace.root)) {
        binds += &format!("{}\n", outside.display());
    }
    let mut environment = format!(
        "VM_VERBOSE={}\nVM_TEST_TIMEOUT={}\nRUST_BACKTRACE=1\nCUPOLA_SLOWNESS={SLOWNESS}\nCARGO_TARGET_DIR={}\nWARDEN_INIT={}\nCUPOLA_CACHE={}\n",
        u8::from(options.verbose),
        options.test_timeout.as_secs(),
        workspace.target.display(),
        init.display(),
        workspace.cache.display()
    );
    if let Ok(level) = env::var("RUST_LOG") {
        environment += &format!("RUST_LOG='{level}'\n");
    }
    write(&stage, "tests", &plan)?;
    write(&stage, "binds", &binds)?;
    write(&stage, "environment", &environment)?;
    write(&stage, "guest.sh", GUEST)?;
    check(Command::new("chmod").arg("755").arg(stage.join("guest.sh")))?;
    if let Some(command) = &options.shell {
        write(&stage, "shell", &format!("{command}\n"))?;
    }
    let usage = output(Command::new("du").args(["-s", "--block-size=1"]).arg(&stage))?;
    let used: u64 =
        usage.split_whitespace().next().unwrap_or_default().parse().context("read the output of du")?;
    let image = cache.join("payload");
    make_ext4(&image, &stage, used + used / 8 + SPARE_BYTES)?;
    fs::remove_dir_all(&stage).with_context(|| format!("remove {}", stage.display()))?;
    Ok(image)
}

/// Builds the programs of the platform that tests start, and returns their paths.
fn build_programs(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    // The whole workspace, as `make build` does: with other features every dependency would be built again.
    let arguments = ["build", "--workspace", "--bins"];
    let artifacts = build(cargo().args(arguments).current_dir(&workspace.root))?;
    let needed = |message: &Value| ["cupola", "warden"].iter().any(|name| message["target"]["name"] == *name);
    Ok(artifacts.into_iter().filter(needed).filter_map(|message| executable(&message)).collect())
}

fn build_tests(workspace: &Workspace, names: &[&str]) -> Result<Vec<Test>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = cargo();
    command.args(["test", "--no-run", "--workspace"]).current_dir(&workspace.root);
    for name in names {
        command.args(["--test", name]);
    }
    let mut tests = Vec::new();
    for message in build(&mut command)?.iter().filter(|message| has_kind(&message["target"], "test")) {
        let Some(executable) = executable(message) else { continue };
        let manifest = Path::new(string(&message["manifest_path"])?);
        let package_root = manifest.parent().unwrap_or(manifest).to_owned();
        tests.push(Test { name: string(&message["target"]["name"])?.to_owned(), executable, package_root });
    }
    Ok(tests)
}

/// Runs a build, and returns cargo's messages about what it made.
fn build(command: &mut Command) -> Result<Vec<Value>> {
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let parse = |line| serde_json::from_str(line).with_context(|| format!("parse cargo's line {line}"));
    output(command)?.lines().map(parse).collect()
}

fn executable(message: &Value) -> Option<PathBuf> {
    message["executable"].as_str().map(PathBuf::from)
}

/// Makes the minimal stack in the cache that the tests of the host use too, unless it is there. The guest cannot
/// make one, having no network.
fn build_stack(workspace: &Workspace) -> Result<Stack> {
    let program = workspace.target.join("debug/cupola");
    let mut command = Command::new(program);
    command.args(["stack", "build", "minimal", "--data-dir"]).arg(&workspace.cache).stdout(Stdio::null());
    check(&mut command)?;
    let link = workspace.cache.join("stacks/minimal");
    let image =
        link.with_file_name(fs::read_link(&link).with_context(|| format!("read {}", link.display()))?);
    let receipt = image.with_extension("json");
    Ok(Stack { link, image, receipt })
}

/// Builds the static PID 1 of containers, and returns its path.
fn build_init(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .args([
            "build",
            "-q",
            "-p",
            "warden",
            "--no-default-features",
            "--bin",
            "warden-init",
            "--target",
            INIT_TARGET,
        ])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(&workspace.root);
    check(&mut command)?;
    Ok(workspace.target.join(INIT_TARGET).join("debug/warden-init"))
}

/// Puts a file into the tree at the path which it has to have in the guest. A link where possible: nobody
/// writes to the tree, and test binaries are large.
fn stage_file(source: &Path, tree: &Path, path: &Path) -> Result<()> {
    let target = beneath(tree, path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    if fs::hard_link(source, &target).is_err() {
        fs::copy(source, &target)
            .with_context(|| format!("copy {} to {}", source.display(), target.display()))?;
    }
    Ok(())
}

fn beneath(tree: &Path, path: &Path) -> PathBuf {
    tree.join(path.strip_prefix("/").unwrap_or(path))
}

fn write(stage: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(stage.join(name), text).with_context(|| format!("write {name} of the payload"))
}

/// The cargo that runs us, or the one of the path.
fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("cargo's answer has {value} where a string belongs"))
}

fn has_kind(target: &Value, kind: &str) -> bool {
    list(&target["kind"]).any(|value| value == kind)
}
