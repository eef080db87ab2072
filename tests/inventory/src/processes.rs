//! What processes hold: namespaces, themselves, descriptors.

use crate::{Inventory, names};
use anyhow::{Context, Result};
use std::{collections::BTreeSet, fs, path::Path};

/// Kinds of namespaces, as they are named in `/proc/<pid>/ns` (namespaces(7)).
const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

impl Inventory {
    /// Namespaces that have a name or that a process lives in, and the processes of the scope.
    pub(crate) fn read_processes(&mut self) -> Result<()> {
        for directory in ["/run/netns", "/var/run/netns"].map(Path::new) {
            for name in if directory.exists() { names(directory)? } else { Vec::new() } {
                self.add("named network namespace", format!("{}/{name}", directory.display()));
            }
        }
        let mut seen = BTreeSet::new();
        let processes = names(Path::new("/proc"))?;
        for process in processes.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            // A process may end while we look at it. One that has ended and waits for its parent to notice holds nothing
            // that counts; that its parent does not notice is a matter of the parent.
            if let Some(parent) = parent_of_zombie(process) {
                if self.is_ours(&parent) {
                    self.add("zombie", format!("of {parent}"));
                }
                continue;
            }
            for kind in KINDS {
                if let Ok(namespace) = fs::read_link(format!("/proc/{process}/ns/{kind}"))
                    && seen.insert(namespace)
                {
                    // Numbers of namespaces are given again: how many there are is what counts.
                    self.add("namespace", kind);
                }
            }
            self.read_process(process);
        }
        match self.scope.descriptors_of {
            Some(process) => self.read_descriptors(process),
            None => Ok(()),
        }
    }

    /// Whether the scope has a program.
    fn is_ours(&self, program: &str) -> bool {
        self.scope.programs.iter().any(|part| program.contains(part))
    }

    fn read_process(&mut self, process: &str) {
        let program = program_of(process);
        if self.is_ours(&program) {
            let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            self.add("process", format!("{program}: {}", words.trim_end()));
        }
    }

    /// What a process has open, without numbers: `socket`, `anon_inode:[pidfd]`, `/dev/null`.
    fn read_descriptors(&mut self, process: u32) -> Result<()> {
        let directory = format!("/proc/{process}/fd");
        for descriptor in
            names(Path::new(&directory)).with_context(|| format!("descriptors of process {process}"))?
        {
            // One may be closed while we look.
            if let Ok(target) = fs::read_link(format!("{directory}/{descriptor}")) {
                let target = target.display().to_string();
                let kind = match target.split_once(":[") {
                    Some((kind, rest)) if rest.bytes().next().is_some_and(|b| b.is_ascii_digit()) => kind,
                    _ => &target,
                };
                self.add("descriptor", kind);
            }
        }
        Ok(())
    }
}

/// The path of a process's program; empty when it is gone, or of the kernel.
fn program_of(process: &str) -> String {
    fs::read_link(format!("/proc/{process}/exe")).map_or(String::new(), |path| path.display().to_string())
}

/// The program of a zombie's parent; `None` for a process that is none.
fn parent_of_zombie(process: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // State and parent follow the program's name, which is in parentheses and may hold anything (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? == "Z").then(|| fields.next().map_or(String::new(), program_of))
}
