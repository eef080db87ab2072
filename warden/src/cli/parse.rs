//! Values of the command line.

use nix::sys::signal::Signal;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use warden_client::message::{BindMode, BindMount, GRACE_NEVER, IoLimit, Property};

/// A number of bytes with a unit: `4096B`, `64K`, `512M`, `2G`, `1T`. One without a unit is refused: nobody can tell
/// what was meant.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is not a size: write a number with a unit, such as 512M or 2G");
    let upper = text.to_ascii_uppercase();
    let digits = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &upper[digits.len()..] {
        "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        _ => return Err(refused()),
    };
    let number: u64 = digits.parse().map_err(|_| refused())?;
    number.checked_mul(factor).ok_or_else(refused)
}

/// A bind mount: `SOURCE:TARGET`, `SOURCE:TARGET:ro`, `:rw`, or `:owned` for a directory of the client's own in which the
/// ordinary user stands for its owner. Writing is refused unless it is asked for.
pub(crate) fn bind(text: &str) -> Result<BindMount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [source, target] | [source, target, "ro"] => Ok(BindMount::new(*source, *target, BindMode::Ro)),
        [source, target, "rw"] => Ok(BindMount::new(*source, *target, BindMode::Rw)),
        [source, target, "owned"] => Ok(BindMount::volume(*source, *target)),
        _ => Err(format!("{text:?} is not SOURCE:TARGET, with :ro, :rw or :owned after it")),
    }
}

/// `NAME=VALUE`.
pub(crate) fn property(text: &str) -> Result<Property, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(Property { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

/// `NAME=VALUE` of an environment; `NAME` alone is this process's own value.
pub(crate) fn environment(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("{text:?} is not NAME=VALUE")),
        Some(_) => Ok(text.to_owned()),
        None => match std::env::var(text) {
            Ok(value) => Ok(format!("{text}={value}")),
            Err(_) => {
                Err(format!("{text:?} is not NAME=VALUE, and this environment has no {text} to pass on"))
            }
        },
    }
}

/// Seconds, or `never`.
pub(crate) fn grace(text: &str) -> Result<u32, String> {
    match text {
        "never" => Ok(GRACE_NEVER),
        _ => text.parse().map_err(|_| format!("{text:?} is neither a number of seconds nor `never`")),
    }
}

/// `UID:GID`.
pub(crate) fn user(text: &str) -> Result<String, String> {
    let number = |part: &str| part.parse::<u32>().is_ok();
    match text.split_once(':') {
        Some((uid, gid)) if number(uid) && number(gid) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not UID:GID, two numbers")),
    }
}

/// Processors as a decimal number, to microseconds per period of 100 ms.
pub(crate) fn processors(text: &str) -> Result<u64, String> {
    let refused = || format!("{text:?} is not a number of processors, such as 0.5 or 2 (0 for no limit)");
    let value: f64 = text.parse().map_err(|_| refused())?;
    match (0.0..=4_096.0).contains(&value) {
        true => Ok((value * 100_000.0).round() as u64),
        false => Err(refused()),
    }
}

/// Rates of a block device: `MAJOR:MINOR,rbps=BYTES,wbps=BYTES,riops=N,wiops=N`, any of the four; 0 for no limit.
pub(crate) fn io(text: &str) -> Result<IoLimit, String> {
    let refused = |what: &str| {
        format!(
            "{what:?} in {text:?}: write MAJOR:MINOR and some of rbps=SIZE wbps=SIZE riops=N wiops=N, with commas"
        )
    };
    let mut parts = text.split(',');
    let device = parts.next().unwrap_or_default();
    let number = |part: &str| part.parse::<u32>().is_ok();
    if !device.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor)) {
        return Err(refused(device));
    }
    let mut limit = IoLimit {
        device: device.to_owned(),
        read_bytes: None,
        write_bytes: None,
        read_operations: None,
        write_operations: None,
    };
    for part in parts {
        let (name, value) = part.split_once('=').ok_or_else(|| refused(part))?;
        let count = || value.parse::<u64>().map_err(|_| refused(part));
        let bytes = || if value == "0" { Ok(0) } else { size(value) };
        match name {
            "rbps" => limit.read_bytes = Some(bytes()?),
            "wbps" => limit.write_bytes = Some(bytes()?),
            "riops" => limit.read_operations = Some(count()?),
            "wiops" => limit.write_operations = Some(count()?),
            _ => return Err(refused(part)),
        }
    }
    Ok(limit)
}

/// A rate and a burst: `RATE` or `RATE:BURST`, in bytes per second and bytes. Without a burst it is a tenth of a second.
pub(crate) fn bandwidth(text: &str) -> Result<(u64, u64), String> {
    match text.split_once(':') {
        Some((rate, burst)) => Ok((size(rate)?, size(burst)?)),
        None if text == "0" => Ok((0, 0)),
        None => size(text).map(|rate| (rate, (rate / 10).max(1 << 14))),
    }
}

/// A signal by number (1 to 64) or by name, with or without `SIG`, in any case.
pub(crate) fn signal(text: &str) -> Result<u32, String> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    match text.parse::<u32>() {
        Ok(number @ 1..=64) => Ok(number),
        Ok(_) => Err(format!("{text:?} is no signal: they have the numbers 1 to 64")),
        Err(_) => Signal::from_str(&name)
            .map(|signal| signal as u32)
            .map_err(|_| format!("{text:?} is no signal: write its number, or a name such as TERM")),
    }
}

/// A path of the host as the daemon needs it: absolute, a slash at its end kept (it means what is in the directory).
pub(crate) fn host_path(path: &Path) -> std::io::Result<String> {
    let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/") && path.components().count() > 0;
    let absolute = std::path::absolute(path)?;
    // `dir/.` is said of a directory's content as well.
    let absolute: PathBuf = absolute.components().filter(|part| *part != Component::CurDir).collect();
    let text = absolute.to_str().ok_or(std::io::ErrorKind::InvalidFilename)?;
    Ok(if slash && text != "/" { format!("{text}/") } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!([size("4096B"), size("64k"), size("2GiB")], [Ok(4096), Ok(65_536), Ok(2 << 30)]);
        for bad in ["512", "M", "-1M", "1.5G", "99999999999T", "", "1Q", "1é"] {
            assert!(size(bad).unwrap_err().contains("512M"), "{bad}");
        }
    }

    #[test]
    fn bind_mounts_are_read_only_unless_said_otherwise() {
        let mode = |text| bind(text).map(|bind| (bind.mode, bind.owned));
        assert_eq!(mode("/a:/b"), Ok((0, None)));
        assert_eq!(mode("/a:/b:ro"), Ok((0, None)));
        assert_eq!(mode("/a:/b:rw"), Ok((1, None)));
        assert_eq!(mode("/a:/b:owned"), Ok((1, Some(true))));
        for bad in ["/a", "/a:/b:x", "/a:/b:ro:rw"] {
            assert!(bind(bad).unwrap_err().contains("SOURCE:TARGET"), "{bad}");
        }
    }

    #[test]
    fn names_and_values() {
        assert_eq!(property("a=b=c").unwrap(), Property { name: "a".into(), value: "b=c".into() });
        assert!(property("=b").is_err() && property("a").is_err());
        assert_eq!(environment("A=").unwrap(), "A=");
        assert!(environment("NOBODY_HAS_SET_THIS").unwrap_err().contains("no NOBODY_HAS_SET_THIS"));
        assert_eq!((grace("never"), grace("5")), (Ok(u32::MAX), Ok(5)));
        assert_eq!(user("1000:1000").unwrap(), "1000:1000");
        assert!(user("root").is_err() && user("1:x").is_err() && user("1").is_err());
    }

    #[test]
    fn limits_in_the_units_of_the_protocol() {
        assert_eq!([processors("0.5"), processors("2"), processors("0")], [Ok(50_000), Ok(200_000), Ok(0)]);
        assert!(processors("-1").is_err() && processors("nan").is_err() && processors("inf").is_err());
        let limit = io("8:16,rbps=1M,wiops=5,wbps=0").unwrap();
        assert_eq!((limit.device.as_str(), limit.read_bytes), ("8:16", Some(1 << 20)));
        assert_eq!(
            (limit.write_operations, limit.write_bytes, limit.read_operations),
            (Some(5), Some(0), None)
        );
        for bad in ["sda,rbps=1M", "8:16,rbps", "8:16,x=1", "8:16,riops=1M"] {
            assert!(io(bad).unwrap_err().contains("MAJOR:MINOR"), "{bad}");
        }
        assert_eq!((bandwidth("1M:2M"), bandwidth("0")), (Ok((1 << 20, 2 << 20)), Ok((0, 0))));
        assert_eq!(bandwidth("10M"), Ok((10 << 20, 1 << 20)));
    }

    #[test]
    fn signals_by_name_and_number() {
        assert_eq!(
            [signal("9"), signal("term"), signal("SIGHUP"), signal("64")],
            [Ok(9), Ok(15), Ok(1), Ok(64)]
        );
        for bad in ["0", "65", "-1", "NONE"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_paths_are_absolute_and_keep_their_slash() {
        assert_eq!(host_path(Path::new("/a/b/")).unwrap(), "/a/b/");
        assert_eq!(host_path(Path::new("/a/./b")).unwrap(), "/a/b");
        assert_eq!(host_path(Path::new("/")).unwrap(), "/");
        let here = std::env::current_dir().unwrap();
        assert_eq!(host_path(Path::new("x/")).unwrap(), format!("{}/x/", here.display()));
    }
}
