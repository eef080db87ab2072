//! Which files an instance has here: those in its container and its last output, or what was kept of its crash.

use super::{Look, Refusal, container, kept};
use crate::{instance::Kept, node::Node};
use cupola_protocol::InstanceId;
use std::{path::PathBuf, sync::Arc};

/// Where the files of an instance are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In its container.
    Container { handle: String, output: Arc<Kept> },
    /// In the directory of its crash.
    Crash { home: PathBuf },
}

impl Place {
    /// Where the files of this instance are now.
    pub(super) fn of(node: &Node, instance: &InstanceId) -> Result<Self, Refusal> {
        // A crash first: the container goes while its instance is still known.
        if node.crashes.of(instance).is_some() {
            return Ok(Self::Crash { home: node.crashes.home(instance) });
        }
        let output = node.outputs.of(instance).ok_or_else(|| Refusal::NoInstance(instance.to_string()))?;
        Ok(Self::Container { handle: node.handle(instance), output })
    }

    /// Looks at a path, which is inside of the home, and reads up to `length` bytes from `offset` when it is a
    /// file.
    pub(super) async fn look(
        &self,
        node: &Arc<Node>,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Look, Refusal> {
        match self {
            Self::Crash { home } => {
                let (home, path) = (home.clone(), path.to_owned());
                let looked =
                    tokio::task::spawn_blocking(move || kept::crashed(&home, &path, offset, length)).await;
                looked.map_err(|error| Refusal::Unreachable(error.to_string()))?
            }
            Self::Container { handle, output } => {
                match container::look(node, handle, path, offset, length).await {
                    Err(Refusal::NotFound(_)) if kept::output(output, path, 0, 0).is_some() => {
                        kept::output(output, path, offset, length)
                            .ok_or_else(|| Refusal::NotFound(path.to_owned()))
                    }
                    Ok(Look::Directory { mut entries, cut }) if path == "logs" => {
                        kept::add_outputs(output, &mut entries);
                        Ok(Look::Directory { entries, cut })
                    }
                    looked => looked,
                }
            }
        }
    }
}
