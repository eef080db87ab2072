//! What a container may have, as values: checked, compared, kept in its record. Nothing here touches the kernel.

use crate::daemon::cgroup::{Processor, Rates, UNLIMITED};
use crate::daemon::config::Config;
use cupola_protocol::warden as wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The share of a container that was never given one, in cgroup v1's shares.
pub(crate) const DEFAULT_SHARES: u64 = 1_024;
/// What the kernel knows of shares (kernel/sched/sched.h: MIN_SHARES, MAX_SHARES).
pub(crate) const SHARES: (u64, u64) = (2, 262_144);
/// The period of processor time that was never set, and what the kernel takes (Documentation/scheduler/sched-bwc.rst).
const DEFAULT_PERIOD: u64 = 100_000;
const PERIODS: (u64, u64) = (1_000, 1_000_000);
/// The smallest quota that the kernel takes, microseconds.
const LEAST_QUOTA: u64 = 1_000;
/// The usual weight of disk access, and its range (Documentation/admin-guide/cgroup-v2.rst, io.weight).
const DEFAULT_IO_WEIGHT: u64 = 100;
const IO_WEIGHTS: (u64, u64) = (1, 10_000);

/// The limits of a container. What is `None` is as the kernel has it for a new group: without limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    /// Bytes of memory and swap together.
    pub(crate) memory_bytes: Option<u64>,
    /// Bytes of memory above which it is slowed down.
    pub(crate) memory_high_bytes: Option<u64>,
    /// cgroup v1's shares.
    pub(crate) cpu_shares: Option<u64>,
    /// Microseconds per period.
    pub(crate) cpu_quota_us: Option<u64>,
    pub(crate) cpu_period_us: Option<u64>,
    pub(crate) cpu_burst_us: Option<u64>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
    /// 1 to 10,000.
    pub(crate) io_weight: Option<u64>,
    /// By `major:minor` of the device.
    pub(crate) io: BTreeMap<String, Rates>,
    /// Bytes of its own files.
    pub(crate) disk_bytes: Option<u64>,
    /// Files and directories of its own.
    pub(crate) disk_inodes: Option<u64>,
}

/// One thing to be told to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Memory(Option<u64>),
    MemoryHigh(Option<u64>),
    Shares(u64),
    Processor(Processor),
    Pids(Option<u64>),
    IoWeight(u64),
    Rates(String, Rates),
    /// Bytes and files together.
    Disk {
        bytes: Option<u64>,
        inodes: Option<u64>,
    },
}

impl Limits {
    /// Those of a container that asks for none.
    pub(crate) fn initial(config: &Config) -> Self {
        Limits {
            pids: Some(config.pids_limit),
            disk_bytes: Some(config.disk.default_bytes),
            disk_inodes: Some(config.disk.inodes),
            ..Limits::default()
        }
    }

    /// These limits with what a request gives; or which of its fields cannot be, and why.
    pub(crate) fn with(&self, wanted: &wire::Limits, config: &Config) -> Result<Limits, String> {
        let mut new = self.clone();
        let within = |name: &str, value: u64, (least, most): (u64, u64)| match (least..=most).contains(&value)
        {
            true => Ok(value),
            false => Err(format!("{name} must be from {least} to {most}, and {value} is not")),
        };
        let unlimited = |bytes: u64| (bytes < UNLIMITED).then_some(bytes);
        if let Some(bytes) = wanted.memory_bytes {
            new.memory_bytes = unlimited(within("memory_bytes", bytes, (1, u64::MAX))?);
        }
        if let Some(bytes) = wanted.memory_high_bytes {
            new.memory_high_bytes = unlimited(within("memory_high_bytes", bytes, (1, u64::MAX))?);
        }
        if let Some(shares) = wanted.cpu_shares {
            new.cpu_shares = Some(within("cpu_shares", shares, SHARES)?);
        }
        if let Some(quota) = wanted.cpu_quota_us {
            new.cpu_quota_us = match quota {
                0 => None,
                quota => {
                    Some(within("cpu_quota_us (0 for none)", quota, (LEAST_QUOTA, i64::MAX as u64 / 1_000))?)
                }
            };
        }
        if let Some(period) = wanted.cpu_period_us {
            new.cpu_period_us = Some(within("cpu_period_us", period, PERIODS)?);
        }
        match (wanted.cpu_burst_us, new.cpu_quota_us) {
            (Some(0), _) => new.cpu_burst_us = None,
            (Some(_), None) => return Err("cpu_burst_us needs a cpu_quota_us".to_owned()),
            (Some(burst), Some(quota)) => {
                new.cpu_burst_us = Some(within("cpu_burst_us (at most cpu_quota_us)", burst, (1, quota))?);
            }
            // Given earlier, and now more than the kernel takes: what is asked for counts more than what was.
            (None, quota) => new.cpu_burst_us = new.cpu_burst_us.and_then(|burst| Some(burst.min(quota?))),
        }
        if let Some(pids) = wanted.pids {
            new.pids = Some(within("pids", pids, (1, 4_194_304))?);
        }
        if let Some(weight) = wanted.io_weight {
            new.io_weight = Some(within("io_weight", weight, IO_WEIGHTS)?);
        }
        for limit in &wanted.io {
            let rates = new.io.entry(device(&limit.device)?).or_default();
            let set = |rate: &mut Option<u64>, wanted: Option<u64>| {
                if let Some(wanted) = wanted {
                    *rate = (wanted > 0).then_some(wanted);
                }
            };
            set(&mut rates.read_bytes, limit.read_bytes);
            set(&mut rates.write_bytes, limit.write_bytes);
            set(&mut rates.read_operations, limit.read_operations);
            set(&mut rates.write_operations, limit.write_operations);
        }
        new.io.retain(|_, rates| *rates != Rates::default());
        if let Some(bytes) = wanted.disk_bytes {
            if bytes > config.disk.max_bytes {
                return Err(format!(
                    "a disk limit of {bytes} bytes is above the largest, {} bytes; raise `disk.max_bytes`",
                    config.disk.max_bytes
                ));
            }
            new.disk_bytes = Some(bytes);
        }
        if let Some(inodes) = wanted.disk_inodes {
            new.disk_inodes = Some(within("disk_inodes", inodes, (16, u64::from(u32::MAX)))?);
        }
        Ok(new)
    }

    /// What to tell the kernel, in this order, to get from these limits to others. The other way round it is as many
    /// changes of the same things in the same order.
    pub(crate) fn changes(&self, to: &Limits) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut add = |differs: bool, change: Change| {
            if differs {
                changes.push(change);
            }
        };
        add(self.memory_high_bytes != to.memory_high_bytes, Change::MemoryHigh(to.memory_high_bytes));
        add(self.memory_bytes != to.memory_bytes, Change::Memory(to.memory_bytes));
        add(self.shares() != to.shares(), Change::Shares(to.shares()));
        add(self.processor() != to.processor(), Change::Processor(to.processor()));
        add(self.pids != to.pids, Change::Pids(to.pids));
        let weight = |limits: &Limits| limits.io_weight.unwrap_or(DEFAULT_IO_WEIGHT);
        add(weight(self) != weight(to), Change::IoWeight(weight(to)));
        let mut devices: Vec<&String> = self.io.keys().chain(to.io.keys()).collect();
        devices.sort();
        devices.dedup();
        for device in devices {
            let rates = |limits: &Limits| limits.io.get(device).copied().unwrap_or_default();
            add(rates(self) != rates(to), Change::Rates(device.clone(), rates(to)));
        }
        add(
            (self.disk_bytes, self.disk_inodes) != (to.disk_bytes, to.disk_inodes),
            Change::Disk { bytes: to.disk_bytes, inodes: to.disk_inodes },
        );
        changes
    }

    /// What a client is told.
    pub(crate) fn to_wire(&self) -> wire::Limits {
        let io = self.io.iter().map(|(device, rates)| wire::IoLimit {
            device: device.clone(),
            read_bytes: rates.read_bytes,
            write_bytes: rates.write_bytes,
            read_operations: rates.read_operations,
            write_operations: rates.write_operations,
        });
        wire::Limits {
            memory_bytes: self.memory_bytes,
            memory_high_bytes: self.memory_high_bytes,
            cpu_shares: Some(self.shares()),
            cpu_quota_us: self.cpu_quota_us,
            cpu_period_us: self.cpu_quota_us.map(|_| self.processor().period),
            cpu_burst_us: self.cpu_burst_us,
            pids: self.pids,
            io_weight: self.io_weight,
            io: io.collect(),
            disk_bytes: self.disk_bytes,
            disk_inodes: self.disk_inodes,
            bandwidth_rate: None,
            bandwidth_burst: None,
        }
    }

    /// Share of the processor.
    pub(crate) fn shares(&self) -> u64 {
        self.cpu_shares.unwrap_or(DEFAULT_SHARES)
    }

    fn processor(&self) -> Processor {
        Processor {
            quota: self.cpu_quota_us,
            period: self.cpu_period_us.unwrap_or(DEFAULT_PERIOD),
            burst: self.cpu_burst_us.unwrap_or(0),
        }
    }
}

/// The number of a block device as the kernel writes it.
fn device(text: &str) -> Result<String, String> {
    let numbers = text.split_once(':').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    match numbers {
        Some((major, minor)) => Ok(format!("{major}:{minor}")),
        None => {
            Err(format!("io.device must be major:minor of a block device, like 8:0, and {text:?} is not"))
        }
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(limits: &Limits, change: impl FnOnce(&mut wire::Limits)) -> Result<Limits, String> {
        let mut wanted = wire::Limits::default();
        change(&mut wanted);
        limits.with(&wanted, &Config::default())
    }

    #[test]
    fn what_is_missing_stays() {
        let first = with(&Limits::initial(&Config::default()), |l| {
            (l.memory_bytes, l.cpu_quota_us, l.cpu_burst_us) = (Some(1 << 20), Some(50_000), Some(10_000));
            l.io = vec![wire::IoLimit { device: "8:0".into(), read_bytes: Some(5), ..Default::default() }];
        })
        .unwrap();
        assert_eq!(with(&first, |_| ()).unwrap(), first);
        let second = with(&first, |l| {
            l.io = vec![wire::IoLimit { device: "8:00".into(), write_bytes: Some(7), ..Default::default() }];
        })
        .unwrap();
        assert_eq!(
            second.io["8:0"],
            Rates { read_bytes: Some(5), write_bytes: Some(7), ..Default::default() }
        );
        assert_eq!(with(&second, |l| l.memory_bytes = Some(u64::MAX)).unwrap().memory_bytes, None);
        let third = with(&second, |l| {
            l.cpu_quota_us = Some(0);
            l.io = vec![wire::IoLimit {
                device: "8:0".into(),
                read_bytes: Some(0),
                write_bytes: Some(0),
                ..Default::default()
            }];
        })
        .unwrap();
        assert_eq!((third.cpu_quota_us, third.cpu_burst_us, third.io.len()), (None, None, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        let limits = Limits::default();
        let refused = |change: fn(&mut wire::Limits)| with(&limits, change).unwrap_err();
        assert!(refused(|l| l.memory_bytes = Some(0)).contains("memory_bytes"));
        assert!(refused(|l| l.cpu_shares = Some(1)).contains("cpu_shares must be from 2 to 262144"));
        assert!(refused(|l| l.cpu_quota_us = Some(999)).contains("cpu_quota_us"));
        assert!(refused(|l| l.cpu_period_us = Some(1_000_001)).contains("cpu_period_us"));
        assert!(refused(|l| l.cpu_burst_us = Some(5)).contains("needs a cpu_quota_us"));
        assert!(
            refused(|l| (l.cpu_quota_us, l.cpu_burst_us) = (Some(5_000), Some(5_001)))
                .contains("cpu_burst_us")
        );
        assert!(refused(|l| l.pids = Some(0)).contains("pids"));
        assert!(refused(|l| l.io_weight = Some(10_001)).contains("io_weight"));
        assert!(refused(|l| l.disk_bytes = Some(1 << 50)).contains("disk.max_bytes"));
        assert!(refused(|l| l.disk_inodes = Some(0)).contains("disk_inodes"));
        for device in ["", "8", "8:", "a:b", "8:0 rbps=1", "+8:0"] {
            let wanted = wire::IoLimit { device: device.into(), ..Default::default() };
            assert!(with(&limits, |l| l.io = vec![wanted]).unwrap_err().contains("io.device"), "{device:?}");
        }
    }

    fn limits() -> impl Strategy<Value = Limits> {
        let some = || proptest::option::of(1u64..4);
        let rates = (some(), some()).prop_map(|(read_bytes, write_bytes)| Rates {
            read_bytes,
            write_bytes,
            ..Rates::default()
        });
        let io = proptest::collection::btree_map("[0-2]:0", rates, 0..3);
        (some(), some(), some(), some(), some(), some(), io).prop_map(
            |(memory_bytes, cpu_shares, cpu_quota_us, pids, io_weight, disk_bytes, io)| Limits {
                memory_bytes,
                cpu_shares,
                cpu_quota_us,
                pids,
                io_weight,
                disk_bytes,
                io,
                ..Limits::default()
            },
        )
    }

    proptest! {
        #[test]
        fn there_and_back_are_the_same_things_in_the_same_order(a in limits(), b in limits()) {
            let kinds = |changes: Vec<Change>| -> Vec<_> {
                changes
                    .into_iter()
                    .map(|change| match change {
                        Change::Rates(device, _) => (None, device),
                        other => (Some(std::mem::discriminant(&other)), String::new()),
                    })
                    .collect()
            };
            prop_assert_eq!(kinds(a.changes(&b)), kinds(b.changes(&a)));
            prop_assert!(a.changes(&a).is_empty());
        }
    }
}
