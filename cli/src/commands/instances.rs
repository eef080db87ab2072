//! What can be seen of the instances of an app, and how many there are: `instances`, `stats`, `health`, `mem`,
//! and, in files of their own, `files`, `tail`, `crashes`, `crashlogs`.

use super::{
    app::{duration, of, word},
    apps::running,
    crashes, files, find_app, scale,
};
use crate::{Error, api::Api, output};
use clap::Subcommand;
use cupola_protocol::{
    api::{App, InstanceStats, ProcessStats},
    controller::DesiredState,
};

/// Instances of an app.
#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// Show a file of an instance, or list a directory
    #[command(visible_aliases = ["f", "file"])]
    Files(files::Arguments),
    /// Follow a file of an instance
    Tail {
        /// The app
        name: String,
        /// The file, such as logs/stdout.log
        path: String,
        /// The instance, by its index or its id
        #[arg(short, default_value = "0", value_name = "INDEX")]
        instance: String,
    },
    /// The instances that have crashed lately, and why
    Crashes {
        /// The app
        name: String,
    },
    /// The log files of the instances that have crashed lately
    Crashlogs {
        /// The app
        name: String,
    },
    /// What each instance uses
    Stats {
        /// The app
        name: String,
    },
    /// How each instance stands; or set their number
    Instances {
        /// The app
        name: String,
        /// Their number from now on, or how many more or fewer: 3, +1, -1
        #[arg(allow_hyphen_values = true)]
        number: Option<String>,
    },
    /// How many of the wanted instances run: of some apps, or of all in the space
    Health {
        /// The apps
        names: Vec<String>,
    },
    /// Show or set the memory of each instance
    Mem {
        /// The app
        name: String,
        /// Memory, such as 256M; restarts the app
        size: Option<String>,
    },
}

impl InstanceCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        match self {
            Self::Files(arguments) => files::run(arguments).await,
            Self::Tail { name, path, instance } => files::tail(&name, &path, &instance).await,
            Self::Crashes { name } => crashes::run(&name).await,
            Self::Crashlogs { name } => crashes::logs(&name).await,
            Self::Stats { name } => stats(&name).await,
            Self::Instances { name, number: None } => instances(&name).await,
            Self::Instances { name, number: Some(number) } => {
                let wanted = wanted(&name, &number).await?;
                let arguments = scale::Arguments { name, instances: Some(wanted), memory: None, disk: None };
                scale::run(arguments).await
            }
            Self::Health { names } => health(&names).await,
            Self::Mem { name, size } => {
                let arguments = scale::Arguments { name, instances: None, memory: size, disk: None };
                scale::run(arguments).await
            }
        }
    }
}

/// The instances of an app that is started.
async fn instances_of(api: &mut Api, name: &str) -> Result<Vec<InstanceStats>, Error> {
    let app = find_app(api, name).await?;
    let instances = all(api, &app).await?;
    match app.state {
        DesiredState::Stopped => Err(Error::Usage(format!(
            "app {name} is stopped and has no instances: `cupola start {name}` starts it"
        ))),
        DesiredState::Started if instances.is_empty() => Err(Error::Usage(format!(
            "app {name} is scaled to no instances: `cupola scale {name} -i 1` gives it one"
        ))),
        DesiredState::Started => Ok(instances),
    }
}

async fn all(api: &mut Api, app: &App) -> Result<Vec<InstanceStats>, Error> {
    let stats: ProcessStats = api.get(&format!("/v3/apps/{}/processes/web/stats", app.guid)).await?;
    Ok(stats.resources)
}

fn since(instance: &InstanceStats) -> String {
    if instance.uptime > 0 { duration(instance.uptime) } else { String::new() }
}

async fn instances(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let row = |instance: &InstanceStats| {
        let details = instance.details.clone().unwrap_or_default();
        vec![format!("#{}", instance.index), word(instance.state).to_owned(), since(instance), details]
    };
    let rows: Vec<_> = instances_of(&mut api, name).await?.iter().map(row).collect();
    output::table(&["", "state", "since", "details"], &rows);
    Ok(())
}

async fn stats(name: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let row = |instance: &InstanceStats| {
        let usage = instance.usage.as_ref();
        let port = instance.instance_ports.first().map(|port| port.external);
        let address = match (&instance.host, port) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => String::new(),
        };
        vec![
            format!("#{}", instance.index),
            word(instance.state).to_owned(),
            usage.map_or(String::new(), |usage| format!("{:.1}%", usage.cpu * 100.0)),
            of(usage.map(|usage| usage.mem), instance.mem_quota),
            of(usage.map(|usage| usage.disk), instance.disk_quota),
            since(instance),
            address,
        ]
    };
    let rows: Vec<_> = instances_of(&mut api, name).await?.iter().map(row).collect();
    output::table(&["", "state", "cpu", "memory", "disk", "uptime", "address"], &rows);
    Ok(())
}

async fn health(names: &[String]) -> Result<(), Error> {
    let mut api = Api::open()?;
    let mut apps = Vec::new();
    for name in names {
        apps.push(find_app(&mut api, name).await?);
    }
    if names.is_empty() {
        let space = api.session.space()?.guid.clone();
        apps = api.list(&format!("/v3/apps?order_by=name&space_guids={space}")).await?;
    }
    let mut rows = Vec::new();
    for app in &apps {
        let stats = ProcessStats { resources: all(&mut api, app).await? };
        let (running, wanted) = (running(&stats), stats.resources.len());
        let health = match app.state {
            DesiredState::Stopped => "stopped".to_owned(),
            DesiredState::Started if wanted == 0 => "no instances".to_owned(),
            DesiredState::Started => format!("{}%", running * 100 / wanted),
        };
        rows.push(vec![app.name.clone(), health, format!("{running}/{wanted}")]);
    }
    output::table(&["name", "health", "instances"], &rows);
    Ok(())
}

/// The number that was meant.
async fn wanted(name: &str, text: &str) -> Result<u32, Error> {
    let now = match text.starts_with(['+', '-']) {
        true => {
            let mut api = Api::open()?;
            let app = find_app(&mut api, name).await?;
            u32::try_from(all(&mut api, &app).await?.len()).unwrap_or(u32::MAX)
        }
        false => 0,
    };
    number(now, text).ok_or_else(|| {
        Error::Usage(format!("{text:?} is no number of instances: write 3, or +1 or -1 for more or fewer"))
    })
}

fn number(now: u32, text: &str) -> Option<u32> {
    match text.strip_prefix('+') {
        Some(more) => now.checked_add(more.parse().ok()?),
        None => match text.strip_prefix('-') {
            Some(fewer) => now.checked_sub(fewer.parse().ok()?),
            None => text.parse().ok(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_is_one_or_a_difference() {
        for (text, expected) in [
            ("3", Some(3)),
            ("+2", Some(7)),
            ("-5", Some(0)),
            ("-6", None),
            ("", None),
            ("+-1", None),
            ("x", None),
        ] {
            assert_eq!(number(5, text), expected, "{text}");
        }
    }
}
