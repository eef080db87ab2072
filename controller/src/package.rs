//! Uploads of packages: checked, completed with files that the client did not send, and remembered by file.

use cupola_protocol::api::FileResource;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// What a package may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub unpacked_bytes: u64,
    pub entries: usize,
    pub resource_min: u64,
    pub resource_max: u64,
}

/// Why an upload is refused. Its words go to the developer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("the upload is not a zip that can be read: {0}. Push again")]
    NotZip(#[from] zip::result::ZipError),
    #[error("the package holds no file: is the path of the app the right one, and not all of it ignored?")]
    Empty,
    #[error(
        "the package has more than {0} entries, the platform's limit: leave out what the app does not need"
    )]
    TooMany(usize),
    #[error(
        "the package unpacks to more than {0} bytes, the platform's limit: leave out what the app does not need"
    )]
    TooLarge(u64),
    #[error("the package has the name {0:?} twice")]
    Twice(String),
    #[error("the package has the name {0:?}: names must be relative and stay inside the app")]
    Name(String),
    #[error(
        "the package has the link {name:?} to {target:?}, which leads out of the app: replace it by what it points to"
    )]
    Link { name: String, target: String },
    #[error("the package has the name {0:?} below a link or a file")]
    Below(String),
    #[error("the package has {0:?}, which is neither file, directory nor link")]
    Special(String),
    #[error("the file {0:?} was said to be on the platform, but its content is not: push again")]
    Unknown(String),
    #[error("the mode {mode:?} of {path:?} is not one: write it in octal, at least 600 for a file")]
    Mode { path: String, mode: String },
    #[error("cannot read or write the package")]
    Io(#[from] std::io::Error),
}

/// A file that was found in a package and is worth remembering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub sha1: String,
    pub size: u64,
    /// Its content, in a file.
    pub at: PathBuf,
}

/// Makes a path of a name in a zip: parts without `.`, or none when it leaves the app.
fn parts(name: &str) -> Option<Vec<&str>> {
    let drive = name.as_bytes().get(1) == Some(&b':');
    if name.is_empty() || name.starts_with('/') || name.contains('\\') || name.contains('\0') || drive {
        return None;
    }
    let parts: Vec<_> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then_some(parts)
}

/// Whether a link inside the app stays inside: counted from the directory that holds it.
fn stays_inside(link: &[&str], target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let mut depth = link.len() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

/// Checks a zip whole: names, links, kinds, limits, checksums. Files worth remembering are written below `scratch`.
pub(crate) fn inspect(zip: &Path, limits: Limits, scratch: &Path) -> Result<Vec<Found>, Invalid> {
    let mut archive = ZipArchive::new(File::open(zip)?)?;
    if archive.len() > limits.entries {
        return Err(Invalid::TooMany(limits.entries));
    }
    if archive.has_duplicate_names() {
        return Err(Invalid::Twice("one of its names".to_owned()));
    }
    let (mut leaves, mut files, mut left) = (BTreeSet::new(), 0, limits.unpacked_bytes);
    let mut all = Vec::with_capacity(archive.len());
    let mut found = BTreeSet::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let path = parts(&name).ok_or_else(|| Invalid::Name(name.clone()))?;
        let path_text = path.join("/");
        // The upper bits of the mode are the kind, as in stat(2); none at all means a plain file or directory.
        let kind = entry.unix_mode().unwrap_or(0) & 0o170_000;
        match kind {
            _ if entry.is_dir() && matches!(kind, 0 | 0o040_000) => {}
            0o120_000 => {
                let mut target = String::new();
                entry
                    .by_ref()
                    .take(4096)
                    .read_to_string(&mut target)
                    .map_err(|_| Invalid::Name(name.clone()))?;
                if path.is_empty() || !stays_inside(&path, &target) {
                    return Err(Invalid::Link { name, target });
                }
                leaves.insert(path_text.clone());
                files += 1;
            }
            0 | 0o100_000 if !path.is_empty() => {
                let (size, sha1, at) = read(&mut entry, left, limits, scratch, &name)?;
                left -= size;
                if (limits.resource_min..=limits.resource_max).contains(&size) {
                    found.insert(Found { sha1, size, at });
                } else {
                    std::fs::remove_file(at)?;
                }
                leaves.insert(path_text.clone());
                files += 1;
            }
            _ => return Err(Invalid::Special(name)),
        }
        all.push((path_text, name));
    }
    if files == 0 {
        return Err(Invalid::Empty);
    }
    let mut seen = BTreeSet::new();
    for (path, name) in &all {
        // `a` and `./a` are one place.
        if leaves.contains(path) && !seen.insert(path) {
            return Err(Invalid::Twice(name.clone()));
        }
        let mut parent = path.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            if leaves.contains(above) {
                return Err(Invalid::Below(name.clone()));
            }
            parent = above;
        }
    }
    Ok(found.into_iter().collect())
}

/// Reads one file to its end, which checks its checksum, into a file of its own. The sizes that a zip claims are
/// not believed.
fn read(
    entry: &mut impl Read,
    left: u64,
    limits: Limits,
    scratch: &Path,
    name: &str,
) -> Result<(u64, String, PathBuf), Invalid> {
    let at = scratch.join(uuid::Uuid::new_v4().to_string());
    let mut file = File::create_new(&at)?;
    let (mut digest, mut size, mut buffer) = (Sha1::new(), 0, vec![0; 64 << 10]);
    loop {
        let read = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(name, %error, "an entry of a package cannot be read");
                return Err(Invalid::NotZip(zip::result::ZipError::Io(error)));
            }
        };
        size += read as u64;
        if size > left {
            return Err(Invalid::TooLarge(limits.unpacked_bytes));
        }
        digest.update(&buffer[..read]);
        if size <= limits.resource_max {
            file.write_all(&buffer[..read])?;
        }
    }
    Ok((size, hex::encode(digest.finalize()), at))
}

/// The hex SHA-256 and the size of a file.
pub(crate) fn digest(path: &Path) -> std::io::Result<(String, u64)> {
    let (mut file, mut digest) = (File::open(path)?, Sha256::new());
    let (mut size, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hex::encode(digest.finalize()), size)),
            read => {
                digest.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

/// Adds files that the client did not send to a zip. Each comes with a file that has its content.
pub(crate) fn complete(zip: &Path, resources: &[(FileResource, PathBuf)]) -> Result<(), Invalid> {
    if resources.is_empty() {
        return Ok(());
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(zip)?;
    let empty = file.seek(SeekFrom::End(0))? == 0;
    let mut writer = if empty { ZipWriter::new(file) } else { ZipWriter::new_append(file)? };
    for (resource, content) in resources {
        if parts(&resource.path).is_none_or(|parts| parts.is_empty()) {
            return Err(Invalid::Name(resource.path.clone()));
        }
        let mode = mode(resource)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .large_file(resource.size_in_bytes >= u64::from(u32::MAX))
            .unix_permissions(mode);
        writer.start_file(resource.path.as_str(), options)?;
        let mut content = File::open(content)?;
        std::io::copy(&mut content, &mut writer)?;
    }
    writer.finish()?;
    Ok(())
}

/// The permissions of a file that the client did not send; 644 when it did not say.
fn mode(resource: &FileResource) -> Result<u32, Invalid> {
    if resource.mode.is_empty() {
        return Ok(0o644);
    }
    match u32::from_str_radix(&resource.mode, 8) {
        // Without set-user-id and kind; the owner must be able to read and write it (160003 in cloud_controller_ng).
        Ok(mode) if mode & 0o600 == 0o600 => Ok(mode & 0o777),
        _ => Err(Invalid::Mode { path: resource.path.clone(), mode: resource.mode.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::api::Checksum;

    const LIMITS: Limits = Limits { unpacked_bytes: 1000, entries: 10, resource_min: 5, resource_max: 100 };

    fn zip(build: impl FnOnce(&mut ZipWriter<File>)) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.zip");
        let mut writer = ZipWriter::new(File::create(&path).unwrap());
        build(&mut writer);
        writer.finish().unwrap();
        (dir, path)
    }

    fn file(writer: &mut ZipWriter<File>, name: &str, content: &[u8]) {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }

    fn check(build: impl FnOnce(&mut ZipWriter<File>)) -> Result<Vec<Found>, Invalid> {
        let (dir, path) = zip(build);
        inspect(&path, LIMITS, dir.path())
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in ["../x", "/etc/x", "a/../../x", "a\\..\\x", "C:x", "a/.."] {
            let result = check(|zip| file(zip, name, b"1"));
            assert!(matches!(result, Err(Invalid::Name(_))), "{name}: {result:?}");
        }
        check(|zip| file(zip, "./a/..b/c..", b"1")).unwrap();
    }

    #[test]
    fn links_that_lead_out_are_refused_and_others_kept() {
        let link = |name: &'static str, target: &'static str| {
            check(move |zip| zip.add_symlink(name, target, SimpleFileOptions::default()).unwrap())
        };
        for (name, target) in
            [("a", "/etc/passwd"), ("a", ".."), ("a/b", "../../x"), ("a", "b/../../c"), ("a", "")]
        {
            assert!(matches!(link(name, target), Err(Invalid::Link { .. })), "{name} -> {target}");
        }
        link("a/b", "../c").unwrap();
        let result = check(|zip| {
            zip.add_symlink("a", "b", SimpleFileOptions::default()).unwrap();
            file(zip, "a/c", b"1");
        });
        assert!(matches!(result, Err(Invalid::Below(_))), "{result:?}");
    }

    #[test]
    fn limits_and_kinds_are_held() {
        assert!(matches!(check(|_| ()), Err(Invalid::Empty)));
        let result = check(|zip| zip.add_directory("d", SimpleFileOptions::default()).unwrap());
        assert!(matches!(result, Err(Invalid::Empty)));
        assert!(matches!(check(|zip| file(zip, "a", &[0; 1001])), Err(Invalid::TooLarge(1000))));
        let result = check(|zip| (0..11).for_each(|i| file(zip, &i.to_string(), b"1")));
        assert!(matches!(result, Err(Invalid::TooMany(10))));
        let result = check(|zip| {
            file(zip, "a", b"1");
            file(zip, "./a", b"2");
        });
        assert!(matches!(result, Err(Invalid::Twice(_))));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.zip");
        std::fs::write(&path, b"not a zip").unwrap();
        assert!(matches!(inspect(&path, LIMITS, dir.path()), Err(Invalid::NotZip(_))));
    }

    #[test]
    fn a_damaged_file_is_found() {
        let (dir, path) = zip(|zip| {
            let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            zip.start_file("a", stored).unwrap();
            zip.write_all(b"hello hello").unwrap();
        });
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(5).position(|window| window == b"hello").unwrap();
        bytes[at] = b'j';
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(inspect(&path, LIMITS, dir.path()), Err(Invalid::NotZip(_))));
    }

    #[test]
    fn files_are_remembered_and_put_back() {
        let (dir, path) = zip(|zip| {
            file(zip, "small", b"1");
            file(zip, "middle", b"0123456789");
        });
        let found = inspect(&path, LIMITS, dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].size, found[0].sha1.as_str()), (10, "87acec17cd9dcd20a716cc2cf67417b71c8a7016"));
        let resource = FileResource {
            path: "back/again".to_owned(),
            mode: "755".to_owned(),
            checksum: Checksum { kind: None, value: Some(found[0].sha1.clone()) },
            size_in_bytes: 10,
        };
        complete(&path, &[(resource.clone(), found[0].at.clone())]).unwrap();
        let mut archive = ZipArchive::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(archive.len(), 3);
        let mut entry = archive.by_name("back/again").unwrap();
        assert_eq!(entry.unix_mode().map(|mode| mode & 0o777), Some(0o755));
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
        let alone = dir.path().join("alone.zip");
        complete(&alone, &[(resource.clone(), found[0].at.clone())]).unwrap();
        inspect(&alone, LIMITS, dir.path()).unwrap();
        let bad = FileResource { mode: "4x".to_owned(), ..resource.clone() };
        assert!(matches!(complete(&alone, &[(bad, found[0].at.clone())]), Err(Invalid::Mode { .. })));
        let bad = FileResource { path: "../x".to_owned(), ..resource };
        assert!(matches!(complete(&alone, &[(bad, found[0].at.clone())]), Err(Invalid::Name(_))));
    }
}
