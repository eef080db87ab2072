//! The package sources of the host: a stack is built from the archive that the host itself uses, so no archive
//! is ever named in this program.

use crate::Error;
use std::{fs, path::Path};

/// One archive as the host knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Archive {
    uri: String,
    suite: String,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// Sources for one Debian release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    archives: Vec<Archive>,
}

impl Sources {
    /// Reads the host's sources, or `file` in their stead, and keeps what serves `suite`. A host that runs another
    /// release has the right archive under another suite's name: that name is exchanged.
    pub(crate) fn of_host(suite: &str, file: Option<&Path>) -> Result<Self, Error> {
        let text = match file {
            Some(file) => vec![read(file)?],
            None => host_files()?,
        };
        let known: Vec<Archive> = text
            .iter()
            .flat_map(|text| if is_deb822(text) { parse_deb822(text) } else { parse_lines(text) })
            .collect();
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let release =
            release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
        let archives = choose(&known, suite, release);
        if archives.is_empty() {
            return Err(Error::NoSources { suite: suite.to_owned() });
        }
        Ok(Self { archives })
    }

    /// The sources for mmdebstrap, which runs the host's apt: with the host's keys and credentials.
    pub(crate) fn for_the_build(&self) -> String {
        self.render(|archive| match &archive.signed_by {
            Some(key) => format!("[signed-by={key}] {}", archive.uri),
            None => archive.uri.clone(),
        })
    }

    /// The sources as they stand in the stack: no key of the host, no credentials.
    pub(crate) fn for_the_stack(&self) -> String {
        self.render(|archive| without_credentials(&archive.uri))
    }

    fn render(&self, uri: impl Fn(&Archive) -> String) -> String {
        let line = |archive: &Archive| {
            format!("deb {} {} {}\n", uri(archive), archive.suite, archive.components.join(" "))
        };
        self.archives.iter().map(line).collect()
    }
}

/// Settings of the host's apt that reach the archive: proxies, CA files, and whether dates are checked (a
/// frozen mirror is older than its own validity). In the syntax of apt.conf.
pub(crate) fn apt_settings() -> String {
    let Ok(dump) = std::process::Command::new("apt-config").arg("dump").output() else {
        return String::new();
    };
    String::from_utf8_lossy(&dump.stdout)
        .lines()
        .filter(|line| reaches_the_archive(line))
        .map(|l| format!("{l}\n"))
        .collect()
}

/// Those of the settings that the stack keeps: never a proxy or a path of the host.
pub(crate) fn stack_settings(settings: &str) -> String {
    settings.lines().filter(|line| line.starts_with("Acquire::Check-")).map(|l| format!("{l}\n")).collect()
}

fn reaches_the_archive(line: &str) -> bool {
    ["Acquire::http::", "Acquire::https::", "Acquire::Check-Valid-Until ", "Acquire::Check-Date "]
        .iter()
        .any(|start| line.starts_with(start))
}

fn host_files() -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    if Path::new("/etc/apt/sources.list").exists() {
        texts.push(read(Path::new("/etc/apt/sources.list"))?);
    }
    let folder = Path::new("/etc/apt/sources.list.d");
    let mut files: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    for file in files {
        if file.extension().is_some_and(|kind| kind == "list" || kind == "sources") {
            texts.push(read(&file)?);
        }
    }
    Ok(texts)
}

fn read(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(Error::io("read the package sources in", file))
}

fn is_deb822(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("Types:"))
}

/// One line per archive: `deb [options] uri suite component...`.
fn parse_lines(text: &str) -> Vec<Archive> {
    let parse = |line: &str| {
        let rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        Some(Archive {
            uri: words.next()?,
            suite: words.next()?,
            components: words.collect(),
            signed_by: signed_by.map(str::to_owned),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// Paragraphs of `Field: value`, in which URIs and Suites may be several.
fn parse_deb822(text: &str) -> Vec<Archive> {
    let mut archives = Vec::new();
    let without_comments: String =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    for paragraph in without_comments.split("\n\n") {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let words =
            |name| field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let off = field("Enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("no"));
        if off || !words("Types").contains(&"deb".to_owned()) {
            continue;
        }
        // A key may also stand in the field itself, over many lines: mmdebstrap then finds its own.
        let signed_by = field("Signed-By").filter(|key| key.starts_with('/')).map(str::to_owned);
        for uri in words("URIs") {
            for suite in words("Suites") {
                archives.push(Archive {
                    uri: uri.clone(),
                    suite,
                    components: words("Components"),
                    signed_by: signed_by.clone(),
                });
            }
        }
    }
    archives
}

/// Of all archives those which serve `suite`: the release itself, its updates and its security updates. When there
/// is none, the same of the host's own `release`, with the name exchanged.
fn choose(known: &[Archive], suite: &str, release: &str) -> Vec<Archive> {
    let of = |name: &str| -> Vec<Archive> {
        let mut chosen = Vec::new();
        for kind in ["", "-updates", "-security"] {
            let wanted = format!("{name}{kind}");
            for archive in known {
                let main = archive.components.iter().any(|component| component == "main");
                let exchanged = Archive {
                    suite: format!("{suite}{kind}"),
                    components: vec!["main".to_owned()],
                    ..archive.clone()
                };
                if archive.suite == wanted && main && !chosen.contains(&exchanged) {
                    chosen.push(exchanged);
                }
            }
        }
        chosen
    };
    let own = of(suite);
    if own.iter().any(|archive| archive.suite == suite) || release.is_empty() { own } else { of(release) }
}

fn without_credentials(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb deb-src\n# a comment\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\
        Components: main contrib\nSigned-By: /usr/share/keyrings/debian.gpg\n\nTypes: deb\nURIs: http://mirror.test/security\n\
        Suites: bookworm-security\nComponents: main\nSigned-By:\n -----BEGIN PGP\n\nEnabled: no\nTypes: deb\n\
        URIs: http://off.test/\nSuites: bookworm\nComponents: main\n";

    fn stack_sources(known: &[Archive], suite: &str, release: &str) -> String {
        Sources { archives: choose(known, suite, release) }.for_the_stack()
    }

    #[test]
    fn paragraphs_are_read_and_narrowed_to_the_release() {
        let expected = "deb http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian bookworm-updates main\n\
            deb http://mirror.test/security bookworm-security main\n";
        assert_eq!(stack_sources(&parse_deb822(DEB822), "bookworm", "bookworm"), expected);
    }

    #[test]
    fn lines_are_read_with_options_and_comments() {
        let known = parse_lines(
            "# deb http://no.test x main\ndeb [arch=amd64 signed-by=/k.gpg] http://u:p@mirror.test/debian bookworm main # it\n\
             deb http://other.test/apt cloud main\ndeb-src http://mirror.test/debian bookworm main\n",
        );
        assert_eq!(stack_sources(&known, "bookworm", ""), "deb http://mirror.test/debian bookworm main\n");
        let build = Sources { archives: choose(&known, "bookworm", "") }.for_the_build();
        assert_eq!(build, "deb [signed-by=/k.gpg] http://u:p@mirror.test/debian bookworm main\n");
    }

    #[test]
    fn a_host_of_another_release_lends_its_archive() {
        let known = parse_deb822(DEB822);
        assert!(stack_sources(&known, "trixie", "bookworm").contains("debian trixie main"));
        assert_eq!(stack_sources(&known, "trixie", ""), "");
    }

    #[test]
    fn the_stack_keeps_no_proxy() {
        let settings = "Acquire::http::Proxy \"http://secret@proxy\";\nAcquire::Check-Date \"false\";\n";
        assert_eq!(stack_settings(settings), "Acquire::Check-Date \"false\";\n");
        assert!(settings.lines().all(reaches_the_archive));
        assert!(!reaches_the_archive("Acquire::cdrom::mount \"/media\";"));
    }
}
