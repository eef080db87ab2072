//! Figures of a group.

use super::{Controller, Group, key, read_key, read_number};
use cupola_protocol::warden::{CpuStat, MemoryStat, Pressure, Pressures};
use std::fs;
use std::path::Path;

/// Nanoseconds of a tick of the protocol's processor figures (USER_HZ is 100).
const TICK_NS: u64 = 10_000_000;

impl Group {
    /// Memory.
    pub(crate) fn memory_stat(&self) -> Option<MemoryStat> {
        let dir = self.home(Controller::Memory)?;
        let text = fs::read_to_string(dir.join("memory.stat")).ok()?;
        let key = |name: &str| key(&text, name);
        if !self.v2 {
            return Some(MemoryStat {
                cache: key("cache"),
                rss: key("rss"),
                mapped_file: key("mapped_file"),
                pgpgin: key("pgpgin"),
                pgpgout: key("pgpgout"),
                swap: key("swap"),
                pgfault: key("pgfault"),
                pgmajfault: key("pgmajfault"),
                inactive_anon: key("inactive_anon"),
                active_anon: key("active_anon"),
                inactive_file: key("inactive_file"),
                active_file: key("active_file"),
                unevictable: key("unevictable"),
                hierarchical_memory_limit: key("hierarchical_memory_limit"),
                hierarchical_memsw_limit: key("hierarchical_memsw_limit"),
                total_cache: key("total_cache"),
                total_rss: key("total_rss"),
                total_mapped_file: key("total_mapped_file"),
                total_pgpgin: key("total_pgpgin"),
                total_pgpgout: key("total_pgpgout"),
                total_swap: key("total_swap"),
                total_pgfault: key("total_pgfault"),
                total_pgmajfault: key("total_pgmajfault"),
                total_inactive_anon: key("total_inactive_anon"),
                total_active_anon: key("total_active_anon"),
                total_inactive_file: key("total_inactive_file"),
                total_active_file: key("total_active_file"),
                total_unevictable: key("total_unevictable"),
            });
        }
        // v2's figures include all groups below.
        let limit = Some(self.memory_limit());
        let swap = read_number(dir, "memory.swap.current");
        Some(MemoryStat {
            cache: key("file"),
            rss: key("anon"),
            mapped_file: key("file_mapped"),
            pgpgin: None,
            pgpgout: None,
            swap,
            pgfault: key("pgfault"),
            pgmajfault: key("pgmajfault"),
            inactive_anon: key("inactive_anon"),
            active_anon: key("active_anon"),
            inactive_file: key("inactive_file"),
            active_file: key("active_file"),
            unevictable: key("unevictable"),
            hierarchical_memory_limit: limit,
            hierarchical_memsw_limit: limit,
            total_cache: key("file"),
            total_rss: key("anon"),
            total_mapped_file: key("file_mapped"),
            total_pgpgin: None,
            total_pgpgout: None,
            total_swap: swap,
            total_pgfault: key("pgfault"),
            total_pgmajfault: key("pgmajfault"),
            total_inactive_anon: key("inactive_anon"),
            total_active_anon: key("active_anon"),
            total_inactive_file: key("inactive_file"),
            total_active_file: key("active_file"),
            total_unevictable: key("unevictable"),
        })
    }

    /// Processor time.
    pub(crate) fn cpu_stat(&self) -> Option<CpuStat> {
        let dir = self.home(Controller::CpuAccounting)?;
        if self.v2 {
            let text = fs::read_to_string(dir.join("cpu.stat")).ok()?;
            let ns = |name| key(&text, name).map(|us| us.saturating_mul(1_000));
            let ticks = |name| ns(name).map(|ns| ns / TICK_NS);
            return Some(CpuStat {
                usage: ns("usage_usec"),
                user: ticks("user_usec"),
                system: ticks("system_usec"),
            });
        }
        let text = fs::read_to_string(dir.join("cpuacct.stat")).ok()?;
        Some(CpuStat {
            usage: read_number(dir, "cpuacct.usage"),
            user: key(&text, "user"),
            system: key(&text, "system"),
        })
    }

    /// Processes and threads.
    pub(crate) fn process_count(&self) -> Option<u64> {
        read_number(self.home(Controller::Pids)?, "pids.current")
    }

    /// Processes that the kernel has killed for lack of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        self.home(Controller::Memory).and_then(|dir| read_key(dir, file, "oom_kill")).unwrap_or(0)
    }

    /// The most memory that it ever had, in bytes (v2: since Linux 5.19).
    pub(crate) fn memory_peak(&self) -> Option<u64> {
        let file = if self.v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        read_number(self.home(Controller::Memory)?, file)
    }

    /// How long its processes wait for what they need: cgroup v2, and a kernel with CONFIG_PSI that has it on.
    pub(crate) fn pressures(&self) -> Option<Pressures> {
        let dir = self.directories.first().filter(|_| self.v2)?;
        let of = |name: &str| pressure(dir, name);
        let (cpu, memory, io) = (of("cpu.pressure"), of("memory.pressure"), of("io.pressure"));
        (cpu.is_some() || memory.is_some() || io.is_some()).then_some(Pressures { cpu, memory, io })
    }
}

fn pressure(dir: &Path, file: &str) -> Option<Pressure> {
    parse_pressure(&fs::read_to_string(dir.join(file)).ok()?)
}

/// Lines like `some avg10=0.12 avg60=0.00 avg300=0.00 total=1234` (Documentation/accounting/psi.rst).
fn parse_pressure(text: &str) -> Option<Pressure> {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let (kind, fields) = line.split_once(' ')?;
        let field = |name: &str| {
            let mut fields = fields.split(' ').filter_map(|field| field.split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        // Always with two digits after the point: without it they are hundredths.
        let share = |name: &str| field(name)?.replace('.', "").parse::<u32>().ok();
        let shares = (share("avg10"), share("avg60"), share("avg300"));
        let total = field("total").and_then(|total| total.parse().ok());
        match kind {
            "some" => {
                (pressure.some_10, pressure.some_60, pressure.some_300) = shares;
                pressure.some_total_us = total;
            }
            "full" => {
                (pressure.full_10, pressure.full_60, pressure.full_300) = shares;
                pressure.full_total_us = total;
            }
            _ => (),
        }
    }
    (pressure != Pressure::default()).then_some(pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressures_are_read_in_hundredths() {
        let text = "some avg10=12.05 avg60=0.07 avg300=0.00 total=1234\nfull avg10=100.00 avg60=1.50 avg300=0.00 total=5\n";
        let pressure = parse_pressure(text).unwrap();
        assert_eq!((pressure.some_10, pressure.some_60, pressure.some_300), (Some(1205), Some(7), Some(0)));
        assert_eq!(
            (pressure.full_10, pressure.full_60, pressure.full_total_us),
            (Some(10000), Some(150), Some(5))
        );
        assert_eq!(pressure.some_total_us, Some(1234));
        assert_eq!(parse_pressure(""), None);
    }
}
