//! Boots the machine, shows its console, and waits for its end.

use super::{Options, base::Base, report::Outcome};
use anyhow::{Context, Result};
use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Time for the guest to come up under KVM before it is given up for the emulator. There are hosts (nested
/// ones above all) whose /dev/kvm opens and even makes machines, which then never run an instruction.
const KVM_BOOT: Duration = Duration::from_secs(20);
/// Time for the guest to come up at all; emulated on a busy machine it takes about 6 s.
const BOOT: Duration = Duration::from_secs(120);
/// How often the machine is looked at. Only the end of a run waits for this.
const POLL: Duration = Duration::from_millis(50);

/// How the guest's instructions are run.
#[derive(Clone, Copy, PartialEq)]
enum Accelerator {
    Kvm,
    Emulator,
}

impl Accelerator {
    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulator => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// A running qemu; killed when dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only for a process that has already been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the machine to its end, under KVM where that works.
pub(super) fn run(base: &Base, payload: &Path, cache: &Path, options: &Options) -> Result<Outcome> {
    let may_kvm = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if may_kvm {
        if let Some(outcome) = boot(base, payload, cache, options, Accelerator::Kvm)? {
            return Ok(outcome);
        }
        println!("vm: /dev/kvm is there but boots nothing: going on without it");
    }
    let outcome = boot(base, payload, cache, options, Accelerator::Emulator)?;
    outcome.context("the emulated machine was given up")
}

/// None: under KVM the guest did not come up.
fn boot(
    base: &Base,
    payload: &Path,
    cache: &Path,
    options: &Options,
    accelerator: Accelerator,
) -> Result<Option<Outcome>> {
    let report = cache.join("report");
    fs::write(&report, "").with_context(|| format!("empty {}", report.display()))?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(accelerator.arguments())
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-smp", "2", "-m"])
        .arg(options.memory_mib.to_string())
        .arg("-kernel")
        .arg(&base.kernel)
        .arg("-initrd")
        .arg(&base.initramfs)
        // An oops becomes a panic and a panic a reboot, which -no-reboot turns into the end of qemu.
        .args(["-append", "console=ttyS0 quiet loglevel=3 oops=panic panic=-1"])
        .args(["-serial", "stdio", "-serial"])
        .arg(format!("file:{}", report.display()))
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio,snapshot=on", base.disk.display()))
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio,cache=unsafe", payload.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if accelerator == Accelerator::Kvm {
        qemu.stderr(Stdio::null()); // its complaint is not the user's concern: the emulator is next
    }
    let started = Instant::now();
    let mut machine = Machine(qemu.spawn().context("start qemu-system-x86_64")?);
    let console = machine.0.stdout.take().context("qemu has no standard output")?;
    let console = thread::spawn(move || show(console));

    let mut up = false;
    let mut timed_out = false;
    loop {
        let ended = machine.0.try_wait().context("wait for qemu")?;
        if !up && read_report(&report)?.lines().any(|line| line.starts_with("up ")) {
            up = true;
            println!("vm: up after {:.1} s", started.elapsed().as_secs_f64());
        }
        let stuck = ended.is_some() || started.elapsed() > KVM_BOOT;
        if accelerator == Accelerator::Kvm && !up && stuck {
            return Ok(None);
        }
        if ended.is_some() {
            break;
        }
        let limit = if !up { BOOT.min(options.time_limit) } else { options.time_limit };
        if started.elapsed() > limit {
            timed_out = true;
            break;
        }
        thread::sleep(POLL);
    }
    drop(machine);
    let console = console.join().expect("the console's thread does not panic");
    Ok(Some(Outcome { report: read_report(&report)?, console, timed_out }))
}

fn read_report(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Copies the console to our output while it comes, and keeps it.
fn show(mut console: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = console.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..length]);
        let mut output = std::io::stdout().lock();
        // Nobody reading any more is no reason to lose the verdict.
        let _ = output.write_all(&buffer[..length]).and_then(|()| output.flush());
    }
    String::from_utf8_lossy(&kept).into_owned()
}
