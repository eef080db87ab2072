//! Crashed instances: what is known of them and their log files, in `<data>/dea/crashes/`, one file
//! `<instance>.json` and one directory `<instance>/logs/` each. They outlive a restart of the agent, and stay until
//! they are old, the same place of the same app has crashed again, or the app is deleted.
//!
//! Only regular files and directories are ever written here, under names that were checked: no path of an app is
//! looked up on the host.

use crate::{
    Error,
    files::{Gathered, OUTPUT_FILES},
    filters::Candidate,
    identity::write_whole,
    instance::{Exit, Kept, Record},
};
use cupola_protocol::{AppId, InstanceId, Version, dea::InstanceState};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// An instance that has crashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Crash {
    pub(crate) instance: InstanceId,
    pub(crate) app: AppId,
    pub(crate) version: Version,
    pub(crate) index: u32,
    /// When, in seconds since 1970.
    pub(crate) timestamp: f64,
    pub(crate) exit: Exit,
}

impl Crash {
    /// What filters look at.
    pub(crate) fn candidate(&self) -> Candidate<'_> {
        Candidate {
            app: &self.app,
            version: &self.version,
            instance: &self.instance,
            index: self.index,
            state: InstanceState::Crashed,
        }
    }
}

/// All crashes that are kept.
#[derive(Debug)]
pub(crate) struct Crashes {
    directory: PathBuf,
    all: Mutex<BTreeMap<InstanceId, Crash>>,
}

impl Crashes {
    /// Reads the directory, which exists. What was half written when an agent died is removed.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&directory).map_err(Error::file("read", &directory))? {
            let path = entry.map_err(Error::file("read", &directory))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                match fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Crash>(&text).ok()) {
                    Some(crash) => drop(all.insert(crash.instance.clone(), crash)),
                    None => {
                        tracing::warn!(path = %path.display(), "removes a crash that cannot be read");
                        fs::remove_file(&path).map_err(Error::file("remove", &path))?;
                    }
                }
            }
        }
        let crashes = Self { directory, all: Mutex::new(all) };
        crashes.sweep().map_err(Error::file("empty", &crashes.directory))?;
        Ok(crashes)
    }

    /// Removes directories that belong to no crash.
    fn sweep(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !self.all().contains_key(&InstanceId::new(name)) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Crash>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a crash with its files, and forgets an earlier one of the same place. Blocks on the disk.
    pub(crate) fn keep(&self, record: &Record, gathered: &[Gathered], kept: &Kept) -> Result<(), Error> {
        let crash = Crash {
            instance: record.instance.clone(),
            app: record.message.droplet.clone(),
            version: record.message.version.clone(),
            index: record.message.index,
            timestamp: record.state_timestamp,
            exit: record.exit.clone().unwrap_or_else(|| Exit::without_status("crashed")),
        };
        let home = self.home(&crash.instance);
        for (path, bytes) in files(gathered, kept) {
            let path = home.join(path);
            let directory = path.parent().unwrap_or(&home);
            fs::create_dir_all(directory).map_err(Error::file("make", directory))?;
            fs::write(&path, bytes).map_err(Error::file("write", &path))?;
        }
        let text = serde_json::to_vec(&crash)
            .map_err(|source| Error::Journal { path: self.note(&crash.instance), source })?;
        write_whole(&self.note(&crash.instance), &text)?;
        let earlier: Vec<InstanceId> = {
            let mut all = self.all();
            let same = |other: &Crash| other.app == crash.app && other.index == crash.index;
            let earlier =
                all.values().filter(|other| same(other)).map(|other| other.instance.clone()).collect();
            all.insert(crash.instance.clone(), crash.clone());
            earlier
        };
        for instance in earlier.iter().filter(|instance| **instance != crash.instance) {
            self.forget(instance)?;
        }
        Ok(())
    }

    fn forget(&self, instance: &InstanceId) -> Result<(), Error> {
        self.all().remove(instance);
        // The note first: what has none is swept.
        for (path, removed) in [
            (self.note(instance), fs::remove_file(self.note(instance))),
            (self.home(instance), fs::remove_dir_all(self.home(instance))),
        ] {
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets what crashed more than `lifetime` seconds before `now`. Blocks on the disk.
    pub(crate) fn expire(&self, lifetime: f64, now: f64) -> Result<(), Error> {
        let old: Vec<InstanceId> = self
            .all()
            .values()
            .filter(|crash| now - crash.timestamp > lifetime)
            .map(|crash| crash.instance.clone())
            .collect();
        old.iter().try_for_each(|instance| self.forget(instance))
    }

    /// Forgets every crash of an app. Blocks on the disk.
    pub(crate) fn forget_app(&self, app: &AppId) -> Result<(), Error> {
        let of_app = self.matching(|crash| crash.app == *app);
        of_app.iter().try_for_each(|crash| self.forget(&crash.instance))
    }

    /// The crash of this instance.
    pub(crate) fn of(&self, instance: &InstanceId) -> Option<Crash> {
        self.all().get(instance).cloned()
    }

    /// The crashes that are meant.
    pub(crate) fn matching(&self, meant: impl Fn(&Crash) -> bool) -> Vec<Crash> {
        self.all().values().filter(|crash| meant(crash)).cloned().collect()
    }

    /// Where the files of a crashed instance are, which need not be there.
    pub(crate) fn home(&self, instance: &InstanceId) -> PathBuf {
        self.directory.join(instance.as_str())
    }

    fn note(&self, instance: &InstanceId) -> PathBuf {
        self.directory.join(format!("{instance}.json"))
    }
}

/// What is written, by path: the app's own files, and its last outputs where it has no files of those names.
fn files<'a>(gathered: &'a [Gathered], kept: &Kept) -> Vec<(&'a Path, Vec<u8>)> {
    let mut files: Vec<(&Path, Vec<u8>)> =
        gathered.iter().map(|file| (Path::new(&file.path), file.bytes.clone())).collect();
    for (path, stream) in OUTPUT_FILES {
        if !gathered.iter().any(|file| file.path == path) {
            files.push((Path::new(path), kept.read(stream, 0, u64::MAX).bytes));
        }
    }
    files
}

#[cfg(test)]
mod tests;
