//! The files of an app: a folder, less what is ignored, or an archive.

use super::archive::{self, Archive};
use crate::Error;
use cupola_protocol::api::{Checksum, FileResource, ResourceMatches};
use ignore::{WalkBuilder, overrides::OverrideBuilder};
use sha1::{Digest, Sha1};
use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

/// Files that name what is not part of the app, in gitignore's grammar.
const IGNORE_FILES: [&str; 2] = [".cfignore", ".cupolaignore"];
/// What is never part of an app: the cf CLI's list.
const NEVER: [&str; 9] = [
    ".cfignore",
    ".cupolaignore",
    ".DS_Store",
    ".git",
    ".gitignore",
    ".hg",
    ".svn",
    "_darcs",
    "manifest.yml",
];
/// Smaller files are sent anyway: asking costs more. The controller's resource cache has the same bound.
const SMALLEST_MATCHED: u64 = 64 * 1024;

/// One entry of a folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// From the folder, with `/`.
    pub name: String,
    /// On disk.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Permissions.
        mode: u32,
        /// Bytes.
        size: u64,
        /// Hex SHA-1, for files that the platform may already have.
        sha1: Option<String>,
    },
    /// A link that stays inside of the app.
    Link {
        /// Where to, as it is written.
        target: String,
    },
}

/// The app as it lies here.
#[derive(Debug)]
pub(super) enum Source {
    /// A folder.
    Folder {
        /// Its path.
        path: PathBuf,
        /// Its entries, sorted.
        entries: Vec<Entry>,
    },
    /// An archive, sent as it is.
    Archive {
        /// Its path.
        path: PathBuf,
    },
}

impl Source {
    /// Reads a folder, or checks an archive.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let metadata = fs::metadata(path).map_err(|source| file_error("read", path, source))?;
        if metadata.is_dir() {
            let entries = walk(path)?;
            if !entries.iter().any(|entry| !matches!(entry.kind, Kind::Folder)) {
                return Err(Error::EmptyApp { path: path.to_owned() });
            }
            Ok(Self::Folder { path: path.to_owned(), entries })
        } else {
            archive::check(path)?;
            Ok(Self::Archive { path: path.to_owned() })
        }
    }

    /// The files that the platform may already have.
    pub(super) fn resources(&self) -> Vec<FileResource> {
        let Self::Folder { entries, .. } = self else { return Vec::new() };
        entries
            .iter()
            .filter_map(|entry| match &entry.kind {
                Kind::File { mode, size, sha1: Some(sha1) } => Some(FileResource {
                    path: entry.name.clone(),
                    mode: format!("{mode:o}"),
                    checksum: Checksum { kind: None, value: Some(sha1.clone()) },
                    size_in_bytes: *size,
                }),
                _ => None,
            })
            .collect()
    }

    /// The archive of what the platform lacks, and what it has.
    pub(super) fn archive(&self, known: ResourceMatches) -> Result<(Archive, Vec<FileResource>), Error> {
        match self {
            Self::Archive { path } => Ok((Archive::existing(path)?, Vec::new())),
            Self::Folder { path, entries } => {
                let digests: HashSet<String> =
                    known.resources.into_iter().filter_map(|r| r.checksum.value).collect();
                let matched: Vec<FileResource> = self
                    .resources()
                    .into_iter()
                    .filter(|r| r.checksum.value.as_ref().is_some_and(|value| digests.contains(value)))
                    .collect();
                let names: HashSet<&str> = matched.iter().map(|r| r.path.as_str()).collect();
                let sent = entries.iter().filter(|entry| !names.contains(entry.name.as_str()));
                Ok((Archive::of(path, sent)?, matched))
            }
        }
    }

    /// What is uploaded, in words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Archive { path } => path.display().to_string(),
            Self::Folder { path, entries } => {
                let files = entries.iter().filter(|entry| !matches!(entry.kind, Kind::Folder)).count();
                format!("{} ({files} files)", path.display())
            }
        }
    }
}

fn walk(root: &Path) -> Result<Vec<Entry>, Error> {
    let mut never = OverrideBuilder::new(root);
    for name in NEVER {
        never.add(&format!("!{name}")).expect("the patterns are constants");
    }
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .follow_links(false)
        .overrides(never.build().expect("the patterns are constants"))
        .sort_by_file_name(|a, b| a.cmp(b));
    for name in IGNORE_FILES {
        builder.add_custom_ignore_filename(name);
    }
    let mut entries = Vec::new();
    for found in builder.build() {
        let found = found.map_err(|error| {
            let source =
                error.into_io_error().unwrap_or_else(|| io::Error::other("the folder cannot be walked"));
            file_error("read", root, source)
        })?;
        let path = found.path();
        let Ok(inner) = path.strip_prefix(root) else { continue };
        if inner.as_os_str().is_empty() {
            continue;
        }
        let Some(name) = inner.to_str().map(str::to_owned) else {
            let entry = inner.to_string_lossy().into_owned();
            return Err(Error::LeadsOut {
                path: root.to_owned(),
                entry,
                why: "has a name that is not UTF-8",
            });
        };
        let metadata = fs::symlink_metadata(path).map_err(|source| file_error("read", path, source))?;
        let kind = if metadata.is_dir() {
            Kind::Folder
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(|source| file_error("read", path, source))?;
            if !stays_inside(inner, &target) {
                return Err(Error::LeadsOut {
                    path: root.to_owned(),
                    entry: name,
                    why: "is a link that leads out of the app",
                });
            }
            Kind::Link { target: target.to_string_lossy().into_owned() }
        } else if metadata.is_file() {
            let size = metadata.len();
            let sha1 = if size >= SMALLEST_MATCHED { Some(digest(path)?) } else { None };
            Kind::File { mode: metadata.permissions().mode() & 0o777, size, sha1 }
        } else {
            return Err(Error::LeadsOut {
                path: root.to_owned(),
                entry: name,
                why: "is neither a file nor a folder nor a link",
            });
        };
        entries.push(Entry { name, path: path.to_owned(), kind });
    }
    Ok(entries)
}

/// Whether a link at `link` (from the app's root) leads to somewhere in the app.
pub(super) fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Prefix(_) | Component::RootDir => return false,
            Component::CurDir => {}
            Component::ParentDir if depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
        }
    }
    true
}

fn digest(path: &Path) -> Result<String, Error> {
    struct Hasher(Sha1);
    impl io::Write for Hasher {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hasher = Hasher(Sha1::new());
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hasher))
        .map_err(|source| file_error("read", path, source))?;
    Ok(hasher.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// An I/O error with what was tried on what.
pub(super) fn file_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn ignored_files_are_left_out_and_links_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(".cfignore", "*.log\n/build\n");
        write(".git/config", "x");
        write("app.py", "x");
        write("debug.log", "x");
        write("build/out", "x");
        write("inner/.profile.d/a.sh", "x");
        write("manifest.yml", "x");
        symlink("../app.py", folder.path().join("inner/link")).unwrap();
        let entries = walk(folder.path()).unwrap();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["app.py", "inner", "inner/.profile.d", "inner/.profile.d/a.sh", "inner/link"]);
    }

    #[test]
    fn links_that_lead_out_are_refused() {
        for (link, target, inside) in [
            ("a", "b", true),
            ("d/a", "../b", true),
            ("a", "../b", false),
            ("d/a", "../../b", false),
            ("a", "/etc/passwd", false),
            ("d/a", "x/../../b", true),
            ("d/a", "x/../../../b", false),
        ] {
            assert_eq!(stays_inside(Path::new(link), Path::new(target)), inside, "{link} -> {target}");
        }
    }

    #[test]
    fn an_empty_folder_is_no_app() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        assert!(matches!(Source::read(folder.path()), Err(Error::EmptyApp { .. })));
    }
}
