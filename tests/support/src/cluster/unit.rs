//! systemd units, as far as the hosts here need them: what to run, as whom, and when again. The same files serve real
//! machines.

use anyhow::{Context, Result, bail};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

/// Where units are looked for, the administrator's first.
const FOLDERS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

/// Keys of `[Service]` that a host here has no use for: they are systemd's own, or keep the service from harm.
const IGNORED: [&str; 15] = [
    "Type",
    "ExecReload",
    "ExecStop",
    "KillMode",
    "Delegate",
    "LimitNOFILE",
    "TimeoutStopSec",
    "SuccessExitStatus",
    "PrivateTmp",
    "Group",
    "BindReadOnlyPaths",
    "Restart",
    "StandardOutput",
    "StandardError",
    "RuntimeDirectory",
];

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// File name, with the instance: `cupola@dea.service`.
    pub name: String,
    /// Commands that come before it, as root.
    pub before: Vec<Vec<String>>,
    /// The command.
    pub command: Vec<String>,
    /// The user that it runs as; root when none is named.
    pub user: Option<String>,
    /// Its variables.
    pub environment: BTreeMap<String, String>,
    /// Pause until it is started again.
    pub pause: Duration,
}

impl Unit {
    /// Reads the unit of this name from this host's disk.
    pub(crate) fn load(name: &str) -> Result<Self> {
        let (file, instance) = match name.split_once('@') {
            Some((before, after)) => {
                let (instance, kind) = after.split_once('.').context("a unit's name ends with its kind")?;
                (format!("{before}@.{kind}"), instance)
            }
            None => (name.to_owned(), ""),
        };
        let path = FOLDERS.iter().map(|folder| Path::new(folder).join(&file)).find(|path| path.is_file());
        let path = path.with_context(|| format!("there is no unit {file} on this host"))?;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(name, instance, &text).with_context(|| format!("{} cannot be used", path.display()))
    }

    fn parse(name: &str, instance: &str, text: &str) -> Result<Self> {
        let mut unit = Self {
            name: name.to_owned(),
            before: Vec::new(),
            command: Vec::new(),
            user: None,
            environment: BTreeMap::new(),
            pause: Duration::from_millis(100),
        };
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            if section != "[Service]" {
                continue;
            }
            let (key, value) = line.split_once('=').with_context(|| format!("{line:?} is not a key"))?;
            let value = value.replace("%i", instance);
            match key {
                "Environment" => unit.environment.extend(assignments(&value)?),
                "EnvironmentFile" => unit.environment.extend(read_environment(&value)?),
                "ExecStart" => unit.command = words(&value, &unit.environment),
                "ExecStartPre" => unit.before.push(words(value.trim_start_matches('+'), &unit.environment)),
                "User" => unit.user = Some(value),
                "RestartSec" => unit.pause = Duration::from_secs_f64(value.parse().context("RestartSec")?),
                _ if IGNORED.contains(&key) => {}
                _ => bail!("{key} means something that no host here does"),
            }
        }
        if unit.command.is_empty() {
            bail!("it has no ExecStart");
        }
        Ok(unit)
    }
}

/// A file of lines `A=b`; one with a minus before its name may be missing.
fn read_environment(path: &str) -> Result<Vec<(String, String)>> {
    let text = match (fs::read_to_string(path.trim_start_matches('-')), path.starts_with('-')) {
        (Ok(text), _) => text,
        (Err(_), true) => return Ok(Vec::new()),
        (Err(error), false) => return Err(error).with_context(|| format!("cannot read {path}")),
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.trim_matches('"').to_owned());
    Ok(lines.filter_map(|line| line.split_once('=')).map(pair).collect())
}

/// `"A=b" "C=d e"`.
fn assignments(text: &str) -> Result<Vec<(String, String)>> {
    let quoted = text.split('"').map(str::trim).filter(|part| !part.is_empty());
    quoted
        .map(|part| {
            let (name, value) = part.split_once('=').with_context(|| format!("{part:?} is no assignment"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// A command's words; a variable that is a word of its own becomes the words of its value.
fn words(command: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let value = |word: &str| word.strip_prefix('$').and_then(|name| variables.get(name));
    command
        .split_whitespace()
        .flat_map(|word| match value(word) {
            Some(value) => value.split_whitespace().map(str::to_owned).collect(),
            None => vec![word.to_owned()],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_names_its_instance_and_its_user() {
        let text = "[Unit]\nDescription=x\n[Service]\nUser=cupola\nExecStartPre=+/bin/p\nExecStart=/bin/c run %i\n\
                    Restart=always\nRestartSec=1.5\n[Install]\nWantedBy=multi-user.target\n";
        let unit = Unit::parse("cupola@dea.service", "dea", text).unwrap();
        assert_eq!(unit.command, ["/bin/c", "run", "dea"]);
        assert_eq!(unit.before, [["/bin/p"]]);
        assert_eq!((unit.user.as_deref(), unit.pause), (Some("cupola"), Duration::from_millis(1500)));
    }

    #[test]
    fn variables_become_words() {
        let text = "[Service]\nEnvironment=\"FILE=/a\" \"MORE=-S /b\"\nExecStart=/bin/h -f $FILE $MORE\n";
        assert_eq!(Unit::parse("h.service", "", text).unwrap().command, ["/bin/h", "-f", "/a", "-S", "/b"]);
    }

    #[test]
    fn what_would_be_misunderstood_is_refused() {
        let said = Unit::parse("x.service", "", "[Service]\nExecStart=/bin/x\nSomethingNew=1\n").unwrap_err();
        assert!(said.to_string().contains("SomethingNew"), "{said}");
        assert!(Unit::parse("x.service", "", "[Service]\nUser=a\n").is_err());
    }
}
