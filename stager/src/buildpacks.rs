//! The system buildpacks: directories that come with the platform.

use crate::{Config, Error, failure::Failure};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The buildpacks that this stager has, in the order in which they are asked.
#[derive(Debug, Clone)]
pub(crate) struct Buildpacks {
    folder: PathBuf,
    names: Vec<String>,
}

impl Buildpacks {
    /// Those of the configuration; each must be there.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        for name in &config.buildpacks {
            let sound = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            let compile = config.buildpacks_dir.join(name).join("bin/compile");
            if name.is_empty() || !sound || !compile.is_file() {
                return Err(Error::BuildpackMissing {
                    name: name.clone(),
                    folder: config.buildpacks_dir.clone(),
                });
            }
        }
        Ok(Self { folder: config.buildpacks_dir.clone(), names: config.buildpacks.clone() })
    }

    /// Their names.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The one that the developer has named, by our name or as `<name>_buildpack`; none means that each is asked.
    pub(crate) fn named(&self, wanted: Option<&str>) -> Result<Option<&str>, Failure> {
        let Some(wanted) = wanted.map(str::trim).filter(|wanted| !wanted.is_empty() && *wanted != "default")
        else {
            return Ok(None);
        };
        let known = self.names.join(", ");
        if wanted.contains("://") || wanted.starts_with("git@") || wanted.ends_with(".git") {
            return Err(Failure::BuildpackUnknown(format!(
                "buildpacks from an address are not supported yet ({wanted:?}): name one of {known}"
            )));
        }
        let short =
            ["_buildpack", "-buildpack"].iter().find_map(|end| wanted.strip_suffix(end)).unwrap_or(wanted);
        match self.names.iter().find(|name| *name == wanted || *name == short) {
            Some(name) => Ok(Some(name)),
            None => Err(Failure::BuildpackUnknown(format!(
                "there is no buildpack {wanted:?}: name one of {known}"
            ))),
        }
    }

    /// Copies these buildpacks into a directory: what a container gets is its own, writable. Blocking.
    pub(crate) fn copy(&self, names: &[String], target: &Path) -> io::Result<()> {
        names.iter().try_for_each(|name| copy_tree(&self.folder.join(name), &target.join(name)))
    }
}

fn copy_tree(source: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let target = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buildpacks() -> Buildpacks {
        Buildpacks { folder: "/none".into(), names: vec!["nodejs".into(), "python".into()] }
    }

    #[test]
    fn a_buildpack_is_found_by_its_historic_name_too() {
        for name in ["python", "python_buildpack", "python-buildpack", " python "] {
            assert_eq!(buildpacks().named(Some(name)), Ok(Some("python")), "{name}");
        }
        for none in [None, Some(""), Some("default")] {
            assert_eq!(buildpacks().named(none), Ok(None));
        }
    }

    #[test]
    fn others_are_refused_with_what_there_is() {
        for name in ["ruby", "../python", "https://example.test/bp.git", "git@example.test:bp"] {
            let text = buildpacks().named(Some(name)).unwrap_err().to_string();
            assert!(text.contains("nodejs, python"), "{text}");
        }
    }

    #[test]
    fn the_shipped_buildpacks_are_those_of_the_default_configuration() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../buildpacks");
        let config = Config { buildpacks_dir: folder.clone(), ..Config::default() };
        let shipped = Buildpacks::open(&config).unwrap();
        let target = tempfile::tempdir().unwrap();
        shipped.copy(shipped.names(), target.path()).unwrap();
        for name in shipped.names() {
            for program in ["detect", "compile", "release"] {
                let file = target.path().join(name).join("bin").join(program);
                let mode =
                    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
                assert_eq!(mode & 0o111, 0o111, "{} cannot be executed", file.display());
            }
        }
        let config = Config { buildpacks: vec!["ruby".into()], buildpacks_dir: folder, ..Config::default() };
        assert!(matches!(Buildpacks::open(&config), Err(Error::BuildpackMissing { .. })));
    }
}
