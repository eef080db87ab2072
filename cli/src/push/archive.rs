//! The archive that is uploaded: made from a folder, or checked when the developer brings one.

use super::files::{Entry, Kind, file_error, stays_inside};
use crate::{Error, output};
use cupola_protocol::api::FileResource;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::multipart::{Form, Part};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};
use tokio_util::io::ReaderStream;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// A zip on disk; a temporary one goes when this is dropped.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    size: u64,
}

impl Archive {
    /// The developer's own.
    pub(super) fn existing(path: &Path) -> Result<Self, Error> {
        let failed = |source| file_error("read", path, source);
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self { file, size })
    }

    /// Packs entries of a folder into a temporary file that has no name.
    pub(super) fn of<'a>(root: &Path, entries: impl Iterator<Item = &'a Entry>) -> Result<Self, Error> {
        let temporary = std::env::temp_dir();
        let failed = |source| file_error("write a temporary archive in", &temporary, source);
        let name = temporary.join(format!("cupola-push-{}.zip", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&name).map_err(failed)?;
        // From here on only this process sees it.
        fs::remove_file(&name).map_err(failed)?;
        let mut zip = ZipWriter::new(file);
        let packed = |error: zip::result::ZipError| Error::Archive { path: root.to_owned(), source: error };
        for entry in entries {
            match &entry.kind {
                Kind::Folder => zip.add_directory(&*entry.name, options(0o755)).map_err(packed)?,
                Kind::Link { target } => {
                    zip.add_symlink(&*entry.name, &**target, options(0o777)).map_err(packed)?
                }
                Kind::File { mode, size, .. } => {
                    let options = options(*mode).large_file(*size >= u64::from(u32::MAX));
                    zip.start_file(&*entry.name, options).map_err(packed)?;
                    File::open(&entry.path)
                        .and_then(|mut file| io::copy(&mut file, &mut zip))
                        .map_err(|source| file_error("read", &entry.path, source))?;
                }
            }
        }
        let mut file = zip.finish().map_err(packed)?;
        let size = io::Seek::stream_position(&mut file).map_err(failed)?;
        io::Seek::rewind(&mut file).map_err(failed)?;
        Ok(Self { file, size })
    }
}

fn options(mode: u32) -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).unix_permissions(mode)
}

/// Refuses an archive with an entry that would land outside of the app. The platform checks again.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Archive { path: path.to_owned(), source };
    let file = File::open(path).map_err(|source| file_error("read", path, source))?;
    let mut zip = ZipArchive::new(file).map_err(failed)?;
    let out = |entry: &str, why| Error::LeadsOut { path: path.to_owned(), entry: entry.to_owned(), why };
    let mut files = 0;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(failed)?;
        let name = entry.name().map_err(failed)?.into_owned();
        if Path::new(&name).is_absolute() || name.starts_with('\\') {
            return Err(out(&name, "has an absolute name"));
        }
        // Some tools write `\\` for `/`.
        let parts = PathBuf::from(name.replace('\\', "/"));
        if parts.components().any(|part| part == Component::ParentDir) {
            return Err(out(&name, "leads out of the app with `..`"));
        }
        if entry.is_symlink() {
            let mut target = String::new();
            // A longer target than a path can be is none.
            let read = entry.by_ref().take(4096).read_to_string(&mut target);
            if read.is_err() || !stays_inside(Path::new(&name), Path::new(&target)) {
                return Err(out(&name, "is a link that leads out of the app"));
            }
        }
        files += usize::from(!entry.is_dir());
    }
    if files == 0 { Err(Error::EmptyApp { path: path.to_owned() }) } else { Ok(()) }
}

/// The upload: the files that the platform has, and the archive, with progress.
pub(super) fn form(archive: &Archive, matched: &[FileResource], what: String) -> Result<Form, Error> {
    let from_its_begin =
        archive.file.try_clone().and_then(|mut file| io::Seek::rewind(&mut file).map(|()| file));
    let file = from_its_begin.map_err(|source| file_error("read again", Path::new("the archive"), source))?;
    let resources = serde_json::to_string(matched).expect("resources are JSON");
    let bar = if output::is_terminal() {
        let style = ProgressStyle::with_template("uploading {msg} [{bar:30}] {bytes}/{total_bytes}")
            .expect("the template is a constant")
            .progress_chars("=> ");
        ProgressBar::new(archive.size).with_style(style).with_message(what)
    } else {
        let had = match matched.len() {
            0 => String::new(),
            n => format!("; {n} files are there already"),
        };
        output::doing(&format!("Uploading {what}, {}{had} ...", cupola_protocol::Bytes(archive.size)));
        ProgressBar::hidden()
    };
    let size = archive.size;
    let stream = ReaderStream::new(tokio::fs::File::from_std(file)).inspect(move |piece| {
        if let Ok(piece) = piece {
            bar.inc(piece.len() as u64);
            if bar.position() >= size {
                bar.finish();
            }
        }
    });
    let bits = Part::stream_with_length(reqwest::Body::wrap_stream(stream), size)
        .file_name("package.zip")
        .mime_str("application/octet-stream")
        .expect("the type is a constant");
    Ok(Form::new().text("resources", resources).part("bits", bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zip(name: &str, link: Option<&str>) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = ZipWriter::new(file.reopen().unwrap());
        match link {
            Some(target) => zip.add_symlink(name, target, options(0o777)).unwrap(),
            None => {
                zip.start_file(name, options(0o644)).unwrap();
                zip.write_all(b"x").unwrap();
            }
        }
        zip.finish().unwrap();
        file
    }

    #[test]
    fn archives_that_lead_out_are_refused() {
        assert!(check(zip("a/b", None).path()).is_ok());
        assert!(check(zip("a/link", Some("../b")).path()).is_ok());
        for (name, link) in [
            ("../x", None),
            ("/x", None),
            ("a/../../x", None),
            ("a\\..\\..\\x", None),
            ("link", Some("../x")),
            ("link", Some("/etc/passwd")),
        ] {
            let refused = check(zip(name, link).path());
            assert!(matches!(refused, Err(Error::LeadsOut { .. })), "{name} {link:?}: {refused:?}");
        }
    }

    #[test]
    fn what_is_no_archive_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(check(file.path()), Err(Error::Archive { .. })));
    }
}
