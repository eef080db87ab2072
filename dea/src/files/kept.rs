//! Reading what this agent keeps itself: the last output of a process, and the files of crashed instances.

use super::{Entry, Look, Refusal, container::WINDOW};
use crate::instance::Kept;
use cupola_protocol::{Bytes, logs::Stream};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, statat},
    io::{Errno, pread},
};
use std::path::Path;

/// Where the outputs of a process can be read, and where they are kept when it has crashed.
pub(crate) const OUTPUT_FILES: [(&str, Stream); 2] =
    [("logs/stdout.log", Stream::Out), ("logs/stderr.log", Stream::Err)];

/// A part of an output; none when the path is not one of an output.
pub(super) fn output(kept: &Kept, path: &str, offset: u64, length: u64) -> Option<Look> {
    let (_, stream) = OUTPUT_FILES.into_iter().find(|(name, _)| *name == path)?;
    let piece = kept.read(stream, offset, length.min(WINDOW));
    Some(Look::File { begin: piece.begin, size: piece.size, bytes: piece.bytes })
}

/// Adds the outputs to the entries of `logs`, where the app has no files of those names.
pub(super) fn add_outputs(kept: &Kept, entries: &mut Vec<Entry>) {
    for (path, stream) in OUTPUT_FILES {
        let name = path.trim_start_matches("logs/");
        if !entries.iter().any(|entry| entry.name == name) {
            let piece = kept.read(stream, 0, 0);
            entries.push(Entry { name: name.to_owned(), size: Some(Bytes(piece.size - piece.begin)) });
        }
    }
    entries.sort();
}

/// Looks at a path in the directory of a crashed instance. Blocks on the disk. Nothing there is a link, and none
/// would be followed.
pub(super) fn crashed(home: &Path, path: &str, offset: u64, length: u64) -> Result<Look, Refusal> {
    let refused = |error: Errno| match error {
        Errno::NOENT | Errno::NOTDIR => Refusal::NotFound(path.to_owned()),
        Errno::XDEV | Errno::LOOP => Refusal::Outside(path.to_owned()),
        error => Refusal::Unreachable(error.to_string()),
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let home = open(home, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(refused)?;
    let inside = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let opened = openat2(&home, inside, flags, Mode::empty(), resolve).map_err(refused)?;
    let figures = fstat(&opened).map_err(refused)?;
    match FileType::from_raw_mode(figures.st_mode) {
        FileType::RegularFile => {
            let size = u64::try_from(figures.st_size).unwrap_or(0);
            let wanted = length.min(WINDOW).min(size.saturating_sub(offset));
            let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
            let mut filled = 0;
            while filled < bytes.len() {
                match pread(&opened, &mut bytes[filled..], offset + filled as u64).map_err(refused)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            Ok(Look::File { begin: 0, size, bytes })
        }
        FileType::Directory => Ok(Look::Directory { entries: list(opened).map_err(refused)?, cut: false }),
        _ => Err(Refusal::NotAFile(path.to_owned())),
    }
}

fn list(directory: OwnedFd) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), "." | "..") {
            continue;
        }
        let figures = statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(figures.st_mode) == FileType::Directory;
        let size = (!is_directory).then(|| Bytes(u64::try_from(figures.st_size).unwrap_or(0)));
        entries.push(Entry { name, size });
    }
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn files_of_a_crash_are_read_in_parts_and_links_lead_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        fs::create_dir_all(home.join("logs/deep")).unwrap();
        fs::write(home.join("logs/a.log"), "0123456789").unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        symlink("../../secret", home.join("logs/relative")).unwrap();
        symlink("/etc/passwd", home.join("logs/absolute")).unwrap();
        symlink("/", home.join("root")).unwrap();
        let file = |bytes: &[u8]| Ok(Look::File { begin: 0, size: 10, bytes: bytes.to_vec() });
        assert_eq!(crashed(&home, "logs/a.log", 0, 100), file(b"0123456789"));
        assert_eq!(crashed(&home, "logs/a.log", 4, 2), file(b"45"));
        assert_eq!(crashed(&home, "logs/a.log", 10, 2), file(b""));
        for path in ["logs/relative", "logs/absolute", "root/etc/passwd", "../secret", "/etc/passwd"] {
            assert_eq!(crashed(&home, path, 0, 100), Err(Refusal::Outside(path.to_owned())), "{path}");
        }
        for path in ["logs/b.log", "logs/a.log/c", "nothing"] {
            assert_eq!(crashed(&home, path, 0, 100), Err(Refusal::NotFound(path.to_owned())), "{path}");
        }
        let Ok(Look::Directory { entries, .. }) = crashed(&home, "", 0, 0) else { panic!("no directory") };
        assert_eq!(entries[0], Entry { name: "logs".to_owned(), size: None });
        assert!(matches!(crashed(&home.join("gone"), "", 0, 0), Err(Refusal::NotFound(_))));
    }
}
