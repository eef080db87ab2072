//! The directory of one staging on the host.

use crate::{
    Config,
    failure::{Failure, Phase},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Directory of all workspaces.
pub(crate) fn workspaces(config: &Config) -> PathBuf {
    config.data_dir.join("tasks")
}

/// A directory that is removed when the last that works in it lets go: file work goes on for a moment after its
/// staging was given up.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    folder: Arc<tempfile::TempDir>,
}

impl Workspace {
    pub(crate) fn new(config: &Config) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("staging-").tempdir_in(workspaces(config))?;
        Ok(Self { folder: Arc::new(folder) })
    }

    /// Path of something in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Does file work in it, off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        phase: Phase,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let workspace = self.clone();
        let task = tokio::task::spawn_blocking(move || work(workspace.folder.path()));
        task.await.map_err(Failure::internal(phase))?.map_err(Failure::internal(phase))
    }
}
