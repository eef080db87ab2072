//! Whom the kernel has killed for lack of memory, from its log (Documentation/ABI/testing/dev-kmsg).

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

/// Most records of the log that are read; the kernel keeps fewer, unless it was told to keep very many.
const MOST: usize = 100_000;
/// Largest record (`CONSOLE_EXT_LOG_MAX`).
const RECORD: usize = 8_192;

/// A process that was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    /// Its program's name, as the kernel cuts it: 15 bytes.
    pub(super) name: String,
    /// Its resident memory.
    pub(super) bytes: Option<u64>,
}

/// The last one of a container. The kernel may leave it out of its log when it has much to say.
pub(super) fn find(id: &str) -> Option<Victim> {
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let mut records = Vec::new();
    let mut buffer = vec![0; RECORD];
    for _ in 0..MOST {
        match log.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(&buffer[..length]);
                // The second of the two lines says nothing of the container.
                if text.contains("oom-kill:") || text.contains("Killed process ") {
                    records.push(text.into_owned());
                }
            }
            // Overwritten while we read: the next read goes on with what is still there.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => (),
            Err(_) => break,
        }
    }
    parse(records.iter().map(String::as_str), id)
}

/// From records like `...;oom-kill:constraint=CONSTRAINT_MEMCG,...,task_memcg=/x/ID,task=tail,pid=7,uid=0` and
/// `...;Memory cgroup out of memory: Killed process 7 (tail) total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:1kB, ...`
/// (mm/oom_kill.c).
fn parse<'a>(records: impl Iterator<Item = &'a str>, id: &str) -> Option<Victim> {
    let mut found: Option<(&str, Victim)> = None;
    for record in records {
        if let Some((_, fields)) = record.split_once("oom-kill:") {
            // The name may hold anything, commas too, and is followed by the number.
            let (before, after) = fields.split_once(",task=")?;
            let group = before.split(',').find_map(|field| field.strip_prefix("task_memcg="))?;
            let (name, rest) = after.rsplit_once(",pid=")?;
            let pid = rest.split(',').next()?;
            if group.split('/').any(|part| part == id) {
                found = Some((pid, Victim { name: name.to_owned(), bytes: None }));
            }
        } else if let (Some((pid, victim)), Some((_, line))) =
            (&mut found, record.split_once("Killed process "))
            && line.split(' ').next() == Some(*pid)
        {
            let kib = |name: &str| -> Option<u64> {
                let (_, value) = line.rsplit_once(name)?;
                value.split_once("kB")?.0.parse().ok()
            };
            let all = [kib("anon-rss:"), kib("file-rss:"), kib("shmem-rss:")];
            victim.bytes = Some(all.into_iter().flatten().sum::<u64>().saturating_mul(1_024));
        }
    }
    found.map(|(_, victim)| victim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [&str; 5] = [
        "6,1,5,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/p/aaa,task_memcg=/p/aaa,task=ruby,pid=70,uid=5",
        "3,2,5,-;Memory cgroup out of memory: Killed process 70 (ruby) total-vm:99kB, anon-rss:8kB, file-rss:3kB, shmem-rss:1kB, UID:5 pgtables:1kB oom_score_adj:0",
        "6,3,6,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/p/bbb,task_memcg=/p/bbb,task=a,pid=1,b,pid=71,uid=5",
        "3,4,6,-;Memory cgroup out of memory: Killed process 71 (a,pid=1,b) total-vm:9kB, anon-rss:7kB, file-rss:0kB, shmem-rss:0kB, UID:5",
        "6,5,7,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/p/ccc,task=x,pid=72,uid=5",
    ];

    #[test]
    fn the_victim_of_a_container_is_found() {
        let find = |id| parse(LOG.into_iter(), id);
        assert_eq!(find("aaa"), Some(Victim { name: "ruby".into(), bytes: Some(12 << 10) }));
        assert_eq!(find("bbb"), Some(Victim { name: "a,pid=1,b".into(), bytes: Some(7 << 10) }));
        assert_eq!(find("ccc"), Some(Victim { name: "x".into(), bytes: None }));
        assert_eq!(find("ddd"), None);
    }
}
