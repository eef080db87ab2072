//! What to push: the manifest, with the flags laid over it.

use super::Arguments;
use crate::Error;
use cupola_protocol::api::{Manifest, ManifestApp};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names under which a manifest is looked for.
const NAMES: [&str; 2] = ["manifest.yml", "manifest.yaml"];

/// The apps to push, each with the folder that its path starts from.
pub(super) fn apps(arguments: &Arguments) -> Result<Vec<(ManifestApp, PathBuf)>, Error> {
    let mut apps = match find(arguments)? {
        Some(path) => read(&path)?,
        None => Vec::new(),
    };
    if let Some(name) = &arguments.name {
        match apps.len() {
            0 => apps.push((ManifestApp { name: name.clone(), ..empty() }, PathBuf::from("."))),
            // With one app in the manifest, the command line may give it another name.
            1 => apps[0].0.name.clone_from(name),
            _ => {
                apps.retain(|(app, _)| &app.name == name);
                if apps.is_empty() {
                    return Err(Error::Usage(format!("the manifest has no app {name:?}")));
                }
            }
        }
    }
    if apps.is_empty() {
        return Err(Error::Usage(
            "name the app: cupola push NAME -p PATH, or write a manifest.yml".to_owned(),
        ));
    }
    if apps.len() > 1 && has_overrides(arguments) {
        return Err(Error::Usage(
            "the manifest has several apps: name the one that the flags are for".to_owned(),
        ));
    }
    for (app, folder) in &mut apps {
        lay_over(app, folder, arguments)?;
    }
    Ok(apps)
}

fn empty() -> ManifestApp {
    // The type has no Default, since an app without a name is none.
    serde_json::from_value(serde_json::json!({ "name": "" })).expect("a name is all that an app needs")
}

fn find(arguments: &Arguments) -> Result<Option<PathBuf>, Error> {
    if let Some(path) = &arguments.manifest {
        return Ok(Some(if path.is_dir() { path.join(NAMES[0]) } else { path.clone() }));
    }
    if arguments.no_manifest {
        return Ok(None);
    }
    let folders = [Path::new("."), arguments.path.as_deref().unwrap_or(Path::new("."))];
    Ok(folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name))).find(|path| path.is_file()))
}

fn read(path: &Path) -> Result<Vec<(ManifestApp, PathBuf)>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File {
        action: "read the manifest",
        path: path.to_owned(),
        source,
    })?;
    let wrong = |why: String| Error::Manifest { path: path.to_owned(), why };
    let manifest: Manifest = serde_yaml_ng::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if manifest.applications.is_empty() {
        return Err(wrong("it has no applications".to_owned()));
    }
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    Ok(manifest.applications.into_iter().map(|app| (app, folder.clone())).collect())
}

fn has_overrides(a: &Arguments) -> bool {
    a.instances.is_some()
        || a.path.is_some()
        || a.memory.is_some()
        || a.disk.is_some()
        || a.buildpack.is_some()
        || a.command.is_some()
        || !a.env.is_empty()
        || a.hostname.is_some()
}

fn lay_over(app: &mut ManifestApp, folder: &mut PathBuf, arguments: &Arguments) -> Result<(), Error> {
    fn set<T: Clone>(target: &mut Option<T>, value: &Option<T>) {
        if value.is_some() {
            target.clone_from(value);
        }
    }
    if let Some(path) = &arguments.path {
        // A path on the command line starts from where the developer stands.
        *folder = PathBuf::new();
        app.path = Some(path.display().to_string());
    }
    set(&mut app.instances, &arguments.instances);
    set(&mut app.memory, &arguments.memory);
    set(&mut app.disk_quota, &arguments.disk);
    set(&mut app.command, &arguments.command);
    set(&mut app.health_check_type, &arguments.health_check);
    set(&mut app.health_check_http_endpoint, &arguments.endpoint);
    set(&mut app.timeout, &arguments.timeout);
    set(&mut app.stack, &arguments.stack);
    if let Some(buildpack) = &arguments.buildpack {
        app.buildpack = None;
        app.buildpacks = Some(vec![buildpack.clone()]);
    }
    for pair in &arguments.env {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Error::Usage(format!("--env {pair}: write it as NAME=VALUE")));
        };
        app.env.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    if arguments.no_route {
        app.no_route = Some(true);
    }
    if app.routes.is_none() && app.no_route != Some(true) && app.random_route != Some(true) {
        app.default_route = Some(true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(name: Option<&str>, folder: &Path) -> Arguments {
        Arguments { name: name.map(str::to_owned), manifest: Some(folder.to_owned()), ..Arguments::default() }
    }

    #[test]
    fn flags_win_over_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let text = "applications:\n- name: one\n  memory: 64M\n  path: src\n  env: {A: b, N: 7}\n";
        fs::write(folder.path().join("manifest.yml"), text).unwrap();
        let mut a = arguments(None, folder.path());
        a.memory = Some("128M".to_owned());
        a.env = vec!["A=c=d".to_owned()];
        let apps = apps(&a).unwrap();
        let (app, from) = &apps[0];
        assert_eq!(
            (app.name.as_str(), app.memory.as_deref(), app.path.as_deref()),
            ("one", Some("128M"), Some("src"))
        );
        assert_eq!(app.env["A"], "c=d");
        assert_eq!(app.env["N"], 7);
        assert_eq!(app.default_route, Some(true));
        assert_eq!(from, folder.path());
    }

    #[test]
    fn of_several_apps_one_is_chosen_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("manifest.yml"), "applications:\n- name: one\n- name: two\n").unwrap();
        assert_eq!(apps(&arguments(None, folder.path())).unwrap().len(), 2);
        assert_eq!(apps(&arguments(Some("two"), folder.path())).unwrap()[0].0.name, "two");
        assert!(apps(&arguments(Some("three"), folder.path())).is_err());
        let mut flags = arguments(None, folder.path());
        flags.instances = Some(3);
        assert!(apps(&flags).is_err(), "flags for several apps at once are ambiguous");
    }
}
