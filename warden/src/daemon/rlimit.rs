//! Process limits: built-in < configured < requested.

use crate::wire::Rlimit;
use cupola_protocol::warden::ResourceLimits;
use std::collections::BTreeMap;

/// Names and numbers of `asm-generic/resource.h`.
const NUMBERS: [(&str, u32); 15] = [
    ("as", 9),
    ("core", 4),
    ("cpu", 0),
    ("data", 2),
    ("fsize", 1),
    ("locks", 10),
    ("memlock", 8),
    ("msgqueue", 12),
    ("nice", 13),
    ("nofile", 7),
    ("nproc", 6),
    ("rss", 5),
    ("rtprio", 14),
    ("sigpending", 11),
    ("stack", 3),
];

/// The historic built-in limits; what is not named has none.
const BUILT_IN: [(&str, u64); 9] = [
    ("core", 0),
    ("memlock", 65_536),
    ("msgqueue", 819_200),
    ("nice", 0),
    ("nofile", 1_024),
    ("nproc", 1_024),
    ("rtprio", 0),
    ("sigpending", 1_024),
    ("stack", 8 << 20),
];

/// The kernel's number of a limit.
pub(crate) fn number(name: &str) -> Option<u32> {
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The limits of one job.
pub(crate) fn merge(configured: &BTreeMap<String, u64>, requested: Option<&ResourceLimits>) -> Vec<Rlimit> {
    let requested = requested.cloned().unwrap_or_default();
    let of_request = |name: &str| match name {
        "as" => requested.r#as,
        "core" => requested.core,
        "cpu" => requested.cpu,
        "data" => requested.data,
        "fsize" => requested.fsize,
        "locks" => requested.locks,
        "memlock" => requested.memlock,
        "msgqueue" => requested.msgqueue,
        "nice" => requested.nice,
        "nofile" => requested.nofile,
        "nproc" => requested.nproc,
        "rss" => requested.rss,
        "rtprio" => requested.rtprio,
        "sigpending" => requested.sigpending,
        "stack" => requested.stack,
        _ => None,
    };
    let built_in = |name: &str| BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    NUMBERS
        .iter()
        .filter_map(|(name, resource)| {
            let value =
                of_request(name).or_else(|| configured.get(*name).copied()).or_else(|| built_in(name))?;
            Some(Rlimit { resource: *resource, soft: value, hard: value })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wins_over_the_configuration_over_the_built_in() {
        let configured = BTreeMap::from([("nofile".to_owned(), 8192), ("nproc".to_owned(), 512)]);
        let request = ResourceLimits { nofile: Some(10), ..Default::default() };
        let limits = merge(&configured, Some(&request));
        let of =
            |name| limits.iter().find(|limit| Some(limit.resource) == number(name)).map(|limit| limit.hard);
        assert_eq!((of("nofile"), of("nproc"), of("core"), of("as")), (Some(10), Some(512), Some(0), None));
    }
}
