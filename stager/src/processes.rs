//! What runs when the app runs: from the Procfile and from bin/release.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The process that is reached over HTTP.
pub(crate) const WEB: &str = "web";

/// What bin/release says. Everything is optional, and real buildpacks print `---`, `--- {}` or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// Commands by process type.
    pub(crate) processes: BTreeMap<String, String>,
    /// Variables that the app gets unless it has them.
    pub(crate) config_vars: BTreeMap<String, String>,
}

impl Release {
    /// Reads what bin/release has printed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize, Default)]
        struct Printed {
            #[serde(default)]
            default_process_types: Option<BTreeMap<String, Scalar>>,
            #[serde(default)]
            config_vars: Option<BTreeMap<String, Scalar>>,
        }
        let printed: Option<Printed> = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        let printed = printed.unwrap_or_default();
        let texts = |map: Option<BTreeMap<String, Scalar>>| -> BTreeMap<String, String> {
            map.unwrap_or_default()
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.text()?)))
                .collect()
        };
        Ok(Self { processes: texts(printed.default_process_types), config_vars: texts(printed.config_vars) })
    }

    /// A script that gives the config vars to an app that has none of their own. The launcher sources it.
    pub(crate) fn profile(&self) -> Option<String> {
        let sound = |name: &str| {
            !name.starts_with(|first: char| first.is_ascii_digit())
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let line =
            |(name, value): (&String, &String)| format!("export {name}=\"${{{name}-{}}}\"\n", escaped(value));
        let script: String = self.config_vars.iter().filter(|(name, _)| sound(name)).map(line).collect();
        (!script.is_empty()).then_some(script)
    }
}

/// A YAML value that stands for itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Truth(bool),
    Nothing(()),
}

impl Scalar {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Truth(truth) => Some(truth.to_string()),
            Self::Nothing(()) => None,
        }
    }
}

/// Text between double quotes of a shell, inside `${..-..}`.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| "\\\"$`}".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Reads a Procfile: lines `name: command`, with comments and empty lines. Anything else is left out, as every
/// reader of the format does.
pub(crate) fn parse_procfile(text: &str) -> BTreeMap<String, String> {
    let parse = |line: &str| {
        let (name, command) = line.trim().split_once(':')?;
        let (name, command) = (name.trim(), command.trim());
        let sound = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        (sound && !command.is_empty()).then(|| (name.to_owned(), command.to_owned()))
    };
    text.trim_start_matches('\u{feff}')
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_procfile_is_read_leniently() {
        let text = "\u{feff}# comment\nweb: bundle exec rackup -p $PORT -o \"a: b\"\r\n\n worker:  sleep 1\nno command\nbad name: x\nempty:\nclock:tick";
        let expected =
            [("clock", "tick"), ("web", "bundle exec rackup -p $PORT -o \"a: b\""), ("worker", "sleep 1")];
        let found = parse_procfile(text);
        assert_eq!(found.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_release_may_be_nearly_nothing() {
        for text in [
            "",
            "---\n",
            "--- {}\n",
            "addons: []\n",
            "default_process_types:\nconfig_vars:\n",
            "--- {}\n# x\n",
        ] {
            assert_eq!(Release::parse(text), Ok(Release::default()), "{text:?}");
        }
    }

    #[test]
    fn a_release_gives_commands_and_variables() {
        let text = "---\naddons: [db]\nconfig_vars:\n  RACK_ENV: production\n  WORKERS: 3\n  DEBUG: true\n  GONE:\n\
            default_process_types:\n  web: 'node server.js'\n";
        let release = Release::parse(text).unwrap();
        assert_eq!(release.processes[WEB], "node server.js");
        assert_eq!(release.config_vars.len(), 3);
        assert!(release.profile().unwrap().contains("export RACK_ENV=\"${RACK_ENV-production}\"\n"));
    }

    #[test]
    fn what_is_not_a_release_is_refused() {
        for text in ["a list\nof: words: here", "default_process_types: [web]", "- x"] {
            assert!(Release::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn config_vars_cannot_run_commands() {
        let vars = [("A", "$(id)`id`\"}\\"), ("B; id", "x"), ("1", "x")];
        let config_vars = vars.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let script = Release { config_vars, ..Release::default() }.profile().unwrap();
        let output = std::process::Command::new("bash")
            .args(["-c", &format!("{script}printf %s \"$A\"")])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "$(id)`id`\"}\\");
    }
}
