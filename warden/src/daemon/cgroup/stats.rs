//! Figures of a group.

use super::{Group, read_key, read_number};
use cgroups_rs::fs::memory::MemController;
use cupola_protocol::warden::{CpuStat, MemoryStat};

/// Nanoseconds of a tick of the protocol's processor figures (USER_HZ is 100).
const TICK_NS: u64 = 10_000_000;

impl Group {
    /// Memory.
    pub(crate) fn memory_stat(&self) -> Option<MemoryStat> {
        let dir = self.with("memory.stat")?;
        if self.v2 {
            let key = |name| read_key(dir, "memory.stat", name);
            let (cache, rss) = (key("file"), key("anon"));
            let limit = Some(self.memory_limit());
            return Some(MemoryStat {
                cache,
                rss,
                mapped_file: key("file_mapped"),
                swap: read_number(dir, "memory.swap.current"),
                pgfault: key("pgfault"),
                pgmajfault: key("pgmajfault"),
                inactive_anon: key("inactive_anon"),
                active_anon: key("active_anon"),
                inactive_file: key("inactive_file"),
                active_file: key("active_file"),
                unevictable: key("unevictable"),
                hierarchical_memory_limit: limit,
                hierarchical_memsw_limit: limit,
                total_cache: cache,
                total_rss: rss,
                total_inactive_file: key("inactive_file"),
                total_active_file: key("active_file"),
                ..Default::default()
            });
        }
        let stat = MemController::new(dir.to_owned(), dir.to_owned(), false).memory_stat().stat;
        Some(MemoryStat {
            cache: Some(stat.cache),
            rss: Some(stat.rss),
            mapped_file: Some(stat.mapped_file),
            pgpgin: Some(stat.pgpgin),
            pgpgout: Some(stat.pgpgout),
            swap: Some(stat.swap),
            pgfault: Some(stat.pgfault),
            pgmajfault: Some(stat.pgmajfault),
            inactive_anon: Some(stat.inactive_anon),
            active_anon: Some(stat.active_anon),
            inactive_file: Some(stat.inactive_file),
            active_file: Some(stat.active_file),
            unevictable: Some(stat.unevictable),
            hierarchical_memory_limit: u64::try_from(stat.hierarchical_memory_limit).ok(),
            hierarchical_memsw_limit: u64::try_from(stat.hierarchical_memsw_limit).ok(),
            total_cache: Some(stat.total_cache),
            total_rss: Some(stat.total_rss),
            total_mapped_file: Some(stat.total_mapped_file),
            total_pgpgin: Some(stat.total_pgpgin),
            total_pgpgout: Some(stat.total_pgpgout),
            total_swap: Some(stat.total_swap),
            total_pgfault: Some(stat.total_pgfault),
            total_pgmajfault: Some(stat.total_pgmajfault),
            total_inactive_anon: Some(stat.total_inactive_anon),
            total_active_anon: Some(stat.total_active_anon),
            total_inactive_file: Some(stat.total_inactive_file),
            total_active_file: Some(stat.total_active_file),
            total_unevictable: Some(stat.total_unevictable),
        })
    }

    /// Processor time.
    pub(crate) fn cpu_stat(&self) -> Option<CpuStat> {
        if self.v2 {
            let dir = self.with("cpu.stat")?;
            let ns = |name| read_key(dir, "cpu.stat", name).map(|us| us * 1_000);
            let ticks = |name| ns(name).map(|ns| ns / TICK_NS);
            return Some(CpuStat {
                usage: ns("usage_usec"),
                user: ticks("user_usec"),
                system: ticks("system_usec"),
            });
        }
        let dir = self.with("cpuacct.usage")?;
        let ticks = |name| read_key(dir, "cpuacct.stat", name);
        Some(CpuStat {
            usage: read_number(dir, "cpuacct.usage"),
            user: ticks("user"),
            system: ticks("system"),
        })
    }

    /// Processes and threads.
    pub(crate) fn process_count(&self) -> Option<u64> {
        read_number(self.with("pids.current")?, "pids.current")
    }

    /// Processes that the kernel has killed for lack of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        self.with(file).and_then(|dir| read_key(dir, file, "oom_kill")).unwrap_or(0)
    }
}
