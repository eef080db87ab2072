//! Unpacks a package: a zip from outside, which nobody has checked.
//!
//! Refused are names that lead out of the directory or are absolute, names that occur twice, links that lead out,
//! files below a link, devices and the like, encrypted entries, and more files or bytes than allowed, counted while
//! they are written and not as the archive claims. The host never runs nor follows anything of what was unpacked.

use crate::failure::{Failure, Phase};
use cupola_protocol::Mebibytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio_util::sync::CancellationToken;
use zip::ZipArchive;

/// What a package may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) unpacked: Mebibytes,
    pub(crate) files: u64,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Files and links.
    pub(crate) files: u64,
    /// Bytes of the files.
    pub(crate) bytes: u64,
    /// The newest time in the package, in seconds since 1970. Files that staging makes get this time too, so that the
    /// same package gives the same droplet. When an entry has no time (a zip's zero is 1980) it is now: else a
    /// server that tells versions of a file by its time would take a new one for the old.
    pub(crate) newest: u64,
}

/// Zips without times have 1980, some tools write 1985: no app is that old.
const FIRST_TRUE_YEAR: u16 = 1990;

/// Mode of files that come without one, from an archive of another system: the historic agents' choice.
const DEFAULT_FILE_MODE: u32 = 0o744;

/// The longest target of a link that Linux has.
const MAX_LINK_TARGET: u64 = 4096;

/// Unpacks `archive` into the directory `target`, which exists and is empty. Blocking.
pub(crate) fn unpack(
    archive: &Path,
    target: &Path,
    limits: Limits,
    stop: &CancellationToken,
) -> Result<Unpacked, Failure> {
    let file = fs::File::open(archive).map_err(Failure::internal(Phase::Unpack))?;
    let mut zip = ZipArchive::new(io::BufReader::new(file))
        .map_err(|error| invalid(format!("the package is not a zip that can be read: {error}")))?;
    let entries = plan(&mut zip, limits)?;
    if !entries.iter().any(|entry| !matches!(entry.kind, Kind::Directory)) {
        return Err(invalid(
            "the package holds no file: push from the directory of the app, and see its .cfignore".into(),
        ));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut unpacked = Unpacked { files: 0, bytes: 0, newest: 0 };
    // Links last: no file is ever written through one.
    let (links, others): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| matches!(entry.kind, Kind::Link));
    for entry in others.into_iter().chain(links) {
        if stop.is_cancelled() {
            return Err(Failure::Stopped);
        }
        let path = target.join(&entry.path);
        let parent =
            if matches!(entry.kind, Kind::Directory) { &path } else { path.parent().unwrap_or(target) };
        fs::create_dir_all(parent).map_err(Failure::internal(Phase::Unpack))?;
        let time = entry.time.unwrap_or(now).min(now);
        match entry.kind {
            Kind::Directory => continue,
            Kind::File => {
                unpacked.bytes += write_file(&mut zip, entry, &path, time, limits.unpacked, unpacked.bytes)?
            }
            Kind::Link => write_link(&mut zip, entry, &path)?,
        }
        unpacked.files += 1;
        unpacked.newest = unpacked.newest.max(time);
    }
    Ok(unpacked)
}

/// An entry that may be unpacked.
#[derive(Debug)]
struct Entry {
    index: usize,
    path: PathBuf,
    kind: Kind,
    mode: u32,
    time: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Link,
}

/// Looks at every entry before the first is written.
fn plan<R: Read + io::Seek>(zip: &mut ZipArchive<R>, limits: Limits) -> Result<Vec<Entry>, Failure> {
    if zip.len() as u64 > limits.files {
        let (found, limit) = (zip.len(), limits.files);
        return Err(invalid(format!(
            "the package holds {found} files, and {limit} are allowed: leave out what the buildpack installs (.cfignore), or allow more (stager.max_files)"
        )));
    }
    if zip.has_duplicate_names() {
        return Err(invalid("the package holds two files of the same name".into()));
    }
    let mut entries = Vec::new();
    let mut kinds: BTreeMap<PathBuf, Kind> = BTreeMap::new();
    for index in 0..zip.len() {
        let file =
            zip.by_index_raw(index).map_err(|error| invalid(format!("the package is damaged: {error}")))?;
        let name = String::from_utf8_lossy(file.name_raw()).into_owned();
        let path = inner_path(&name)?;
        if file.encrypted() {
            return Err(invalid(format!("{name:?} in the package is encrypted")));
        }
        if path.as_os_str().is_empty() {
            continue; // "./"
        }
        let mode = file.unix_mode();
        let kind = match mode.unwrap_or(0) & 0o170000 {
            _ if file.is_dir() => Kind::Directory,
            0 | 0o100000 => Kind::File,
            0o040000 => Kind::Directory,
            0o120000 => Kind::Link,
            _ => {
                return Err(invalid(format!(
                    "{name:?} in the package is neither a file, a directory nor a link"
                )));
            }
        };
        if kinds
            .insert(path.clone(), kind)
            .is_some_and(|other| (other, kind) != (Kind::Directory, Kind::Directory))
        {
            return Err(invalid(format!("{name:?} is in the package twice")));
        }
        let permissions = mode.map_or(DEFAULT_FILE_MODE, |mode| mode & 0o777) | 0o600;
        let time = file.last_modified().filter(|time| time.year() >= FIRST_TRUE_YEAR).map(seconds);
        entries.push(Entry { index, path, kind, mode: permissions, time });
    }
    let solid: BTreeSet<&PathBuf> =
        kinds.iter().filter(|(_, kind)| **kind != Kind::Directory).map(|(path, _)| path).collect();
    for entry in &entries {
        if let Some(above) = entry.path.ancestors().skip(1).find(|above| solid.contains(&above.to_path_buf()))
        {
            return Err(invalid(format!(
                "{:?} in the package lies below {above:?}, which is no directory",
                entry.path
            )));
        }
    }
    Ok(entries)
}

/// The path of an entry inside the directory; refuses what would be elsewhere.
fn inner_path(name: &str) -> Result<PathBuf, Failure> {
    if name.contains('\0') || name.contains('\\') {
        return Err(invalid(format!(
            "the name {name:?} in the package has a character that names cannot have"
        )));
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(invalid(format!(
                    "the name {name:?} in the package leads out of the app's directory"
                )));
            }
        }
    }
    Ok(path)
}

fn write_file<R: Read + io::Seek>(
    zip: &mut ZipArchive<R>,
    entry: &Entry,
    path: &Path,
    time: u64,
    limit: Mebibytes,
    before: u64,
) -> Result<u64, Failure> {
    let damaged = |error: &dyn std::fmt::Display| {
        invalid(format!("{:?} in the package is damaged: {error}", entry.path))
    };
    let mut source = zip.by_index(entry.index).map_err(|error| damaged(&error))?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(entry.mode)
        .open(path)
        .map_err(Failure::internal(Phase::Unpack))?;
    let left = limit.bytes().0.saturating_sub(before);
    let mut buffer = vec![0; 128 * 1024];
    let mut written = 0;
    loop {
        let read = source.read(&mut buffer).map_err(|error| damaged(&error))?;
        if read == 0 {
            break;
        }
        written += read as u64;
        if written > left {
            return Err(invalid(format!(
                "the package unpacks to more than {limit}: leave out what is not needed (.cfignore), or allow more (stager.max_unpacked_mb)"
            )));
        }
        file.write_all(&buffer[..read]).map_err(Failure::internal(Phase::Unpack))?;
    }
    // The umask may have taken from the mode.
    file.set_permissions(fs::Permissions::from_mode(entry.mode)).map_err(Failure::internal(Phase::Unpack))?;
    file.set_modified(UNIX_EPOCH + Duration::from_secs(time)).map_err(Failure::internal(Phase::Unpack))?;
    Ok(written)
}

fn write_link<R: Read + io::Seek>(
    zip: &mut ZipArchive<R>,
    entry: &Entry,
    path: &Path,
) -> Result<(), Failure> {
    let source =
        zip.by_index(entry.index).map_err(|error| invalid(format!("the package is damaged: {error}")))?;
    let mut target = String::new();
    source
        .take(MAX_LINK_TARGET)
        .read_to_string(&mut target)
        .map_err(|error| invalid(format!("the link {:?} in the package is damaged: {error}", entry.path)))?;
    if !stays_inside(&entry.path, &target) {
        return Err(invalid(format!(
            "the link {:?} in the package leads out of the app's directory, to {target:?}",
            entry.path
        )));
    }
    symlink(&target, path).map_err(Failure::internal(Phase::Unpack))
}

/// Whether a link at `path` that says `target` ends inside, whatever other such links there are. Going up is
/// allowed only at the beginning of a target: there every directory is a real one. After a name, which may be
/// another link, `..` would lead to the parent of wherever that link leads.
fn stays_inside(path: &Path, target: &str) -> bool {
    let mut depth = path.components().count() - 1;
    let mut named = false;
    for component in Path::new(target).components() {
        match component {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if named || depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.is_empty() && !target.contains('\0')
}

/// Seconds since 1970 of a zip's time, which has no zone: UTC, as zips of build machines have it.
fn seconds(time: zip::DateTime) -> u64 {
    let (year, month, day) = (i64::from(time.year()), i64::from(time.month()), i64::from(time.day()));
    // Days from the civil calendar, with March as the first month of the year.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let clock = 3600 * i64::from(time.hour()) + 60 * i64::from(time.minute()) + i64::from(time.second());
    u64::try_from(86400 * days + clock).unwrap_or(0)
}

fn invalid(text: String) -> Failure {
    Failure::PackageInvalid(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zip::{ZipWriter, write::SimpleFileOptions};

    const LIMITS: Limits = Limits { unpacked: Mebibytes(1), files: 100 };

    fn archive(build: impl FnOnce(&mut ZipWriter<fs::File>)) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ZipWriter::new(file.reopen().unwrap());
        build(&mut writer);
        writer.finish().unwrap();
        file
    }

    fn try_unpack(archive: &Path) -> (tempfile::TempDir, Result<Unpacked, Failure>) {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("app");
        fs::create_dir(&target).unwrap();
        let result = unpack(archive, &target, LIMITS, &CancellationToken::new());
        (folder, result)
    }

    fn refused(build: impl FnOnce(&mut ZipWriter<fs::File>)) -> String {
        let archive = archive(build);
        let (folder, result) = try_unpack(archive.path());
        let outside: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside, ["app"], "something was written outside");
        match result.unwrap_err() {
            Failure::PackageInvalid(text) => text,
            other => panic!("not the package's fault: {other}"),
        }
    }

    fn add(zip: &mut ZipWriter<fs::File>, name: &str, content: &[u8], mode: u32) {
        let options = SimpleFileOptions::default().unix_permissions(mode);
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }

    fn link(zip: &mut ZipWriter<fs::File>, name: &str, target: &str) {
        zip.add_symlink(name, target, SimpleFileOptions::default()).unwrap();
    }

    #[test]
    fn a_sound_package_is_unpacked_with_modes_links_and_times() {
        let time = zip::DateTime::from_date_and_time(2024, 2, 29, 12, 30, 8).unwrap();
        let archive = archive(|zip| {
            zip.add_directory("empty/", SimpleFileOptions::default()).unwrap();
            zip.start_file(
                "bin/run.sh",
                SimpleFileOptions::default().unix_permissions(0o4755).last_modified_time(time),
            )
            .unwrap();
            zip.write_all(b"#!/bin/sh\n").unwrap();
            link(zip, "deep/er/link", "../../bin/run.sh");
        });
        let (folder, result) = try_unpack(archive.path());
        let unpacked = result.unwrap();
        assert_eq!((unpacked.files, unpacked.bytes), (2, 10));
        let app = folder.path().join("app");
        assert!(app.join("empty").is_dir());
        assert_eq!(fs::read_to_string(app.join("deep/er/link")).unwrap(), "#!/bin/sh\n");
        let figures = fs::metadata(app.join("bin/run.sh")).unwrap();
        assert_eq!(figures.permissions().mode() & 0o7777, 0o755, "no setuid bit");
        assert_eq!(figures.modified().unwrap(), UNIX_EPOCH + Duration::from_secs(1_709_209_808));
    }

    #[test]
    fn times_are_kept_unless_they_are_a_zips_zero() {
        let new = zip::DateTime::from_date_and_time(2024, 2, 29, 12, 30, 8).unwrap();
        let old = zip::DateTime::from_date_and_time(2001, 1, 1, 0, 0, 0).unwrap();
        let with = |times: [zip::DateTime; 2]| {
            let archive = archive(|zip| {
                for (index, time) in times.into_iter().enumerate() {
                    zip.start_file(format!("{index}"), SimpleFileOptions::default().last_modified_time(time))
                        .unwrap();
                }
            });
            try_unpack(archive.path()).1.unwrap().newest
        };
        assert_eq!(with([new, old]), 1_709_209_808);
        assert!(with([new, zip::DateTime::default()]) > 1_709_209_808);
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["../evil", "/etc/evil", "a/../../evil", "a/..", "a\\..\\evil"] {
            let text = refused(|zip| add(zip, name, b"x", 0o644));
            assert!(text.contains("package"), "{name}: {text}");
        }
    }

    #[test]
    fn links_that_lead_out_are_refused() {
        for (name, target) in [
            ("l", "/etc/passwd"),
            ("l", ".."),
            ("l", "../x"),
            ("a/l", "../../x"),
            ("l", "a/../../x"),
            ("l", "a/.."),
        ] {
            let text = refused(|zip| {
                add(zip, "a/f", b"x", 0o644);
                link(zip, name, target)
            });
            assert!(text.contains("leads out"), "{name} -> {target}: {text}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let text = refused(|zip| {
            link(zip, "d", "elsewhere");
            add(zip, "d/f", b"x", 0o644)
        });
        assert!(text.contains("no directory"), "{text}");
        let text = refused(|zip| {
            add(zip, "./d", b"x", 0o644);
            add(zip, "d/f", b"x", 0o644)
        });
        assert!(text.contains("no directory"), "{text}");
    }

    #[test]
    fn two_entries_of_one_path_are_refused() {
        let text = refused(|zip| {
            add(zip, "a", b"x", 0o644);
            add(zip, "./a", b"y", 0o644)
        });
        assert!(text.contains("twice"), "{text}");
    }

    #[test]
    fn bombs_are_stopped_by_what_they_unpack_to() {
        let text = refused(|zip| add(zip, "zeros", &vec![0; 2 << 20], 0o644));
        assert!(text.contains("more than 1M"), "{text}");
        let text = refused(|zip| (0..101).for_each(|i| add(zip, &i.to_string(), b"", 0o644)));
        assert!(text.contains("101 files, and 100"), "{text}");
        let text = refused(|zip| {
            add(zip, "a", &vec![0; 700 << 10], 0o644);
            add(zip, "b", &vec![0; 700 << 10], 0o644);
        });
        assert!(text.contains("more than 1M"), "together: {text}");
    }

    #[test]
    fn an_empty_package_or_none_is_refused() {
        let text = refused(|zip| zip.add_directory("empty/", SimpleFileOptions::default()).unwrap());
        assert!(text.contains("no file"), "{text}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "not a zip").unwrap();
        assert!(matches!(try_unpack(file.path()).1, Err(Failure::PackageInvalid(_))));
    }

    #[test]
    fn a_cut_or_changed_package_is_refused() {
        let whole = archive(|zip| add(zip, "a", &vec![7; 5000], 0o644));
        let mut bytes = fs::read(whole.path()).unwrap();
        bytes[40] ^= 0xff;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        assert!(matches!(try_unpack(file.path()).1, Err(Failure::PackageInvalid(_))));
    }

    #[test]
    fn unpacking_can_be_stopped() {
        let archive = archive(|zip| add(zip, "a", b"x", 0o644));
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(unpack(archive.path(), folder.path(), LIMITS, &stop), Err(Failure::Stopped));
    }

    proptest! {
        /// Whatever the names and links: afterwards everything that can be reached lies inside.
        #[test]
        fn nothing_reaches_outside(
            files in prop::collection::vec("[ab./]{1,7}", 0..5),
            links in prop::collection::vec(("[ab./]{1,7}", "[ab./]{1,9}"), 0..5),
        ) {
            let archive = archive(|zip| {
                for name in &files {
                    if zip.start_file(name.as_str(), SimpleFileOptions::default()).is_ok() {
                        zip.write_all(b"x").unwrap();
                    }
                }
                for (name, target) in &links {
                    let _ = zip.add_symlink(name.as_str(), target.as_str(), SimpleFileOptions::default());
                }
            });
            let (folder, _) = try_unpack(archive.path());
            prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            let root = folder.path().canonicalize().unwrap().join("app");
            let mut folders = vec![root.clone()];
            while let Some(here) = folders.pop() {
                for entry in fs::read_dir(here).unwrap() {
                    let entry = entry.unwrap();
                    if let Ok(path) = entry.path().canonicalize() {
                        prop_assert!(path.starts_with(&root), "{:?} leads to {path:?}", entry.path());
                    }
                    if entry.file_type().unwrap().is_dir() {
                        folders.push(entry.path());
                    }
                }
            }
        }
    }
}
