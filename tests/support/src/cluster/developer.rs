//! Somebody who pushes apps, and somebody who uses them: both come through the load balancer.

use super::plan::{BALANCER, DOMAIN};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long an answer may take.
const HTTP_LIMIT: Duration = Duration::from_secs(5);

/// A developer with a login.
#[derive(Debug, Clone)]
pub(crate) struct Developer {
    program: PathBuf,
    home: PathBuf,
    http: reqwest::blocking::Client,
}

/// What a platform says of an app's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instances {
    /// Those that run.
    pub running: usize,
    /// Those that there should be.
    pub wanted: usize,
    /// Hosts of those that run, by the address that routers use.
    pub hosts: Vec<String>,
}

impl Developer {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let http = reqwest::blocking::Client::builder().no_proxy().timeout(HTTP_LIMIT).build()?;
        Ok(Self { program: directory.join("bin/cupola"), home: directory.join("developer"), http })
    }

    pub(crate) fn login(&self, password: &str) -> Result<()> {
        let mut child =
            self.command(&["login", "-u", "admin", "--password-stdin"]).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("a pipe")?.write_all(password.as_bytes())?;
        ended("login", child).map(drop)
    }

    /// Where the developer keeps things.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// A command of the developer that is not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("CUPOLA_HOME", &self.home)
            .env("CUPOLA_API", format!("http://{BALANCER}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A command of the developer, which must succeed; gives what it said.
    pub(crate) fn cupola(&self, arguments: &[&str]) -> Result<String> {
        ended(&arguments.join(" "), self.command(arguments).spawn()?)
    }

    /// One request to an app: its body when the answer is 200.
    pub(crate) fn get(&self, app: &str, path: &str) -> Result<String> {
        let answer = self
            .http
            .get(format!("http://{BALANCER}{path}"))
            .header("Host", format!("{app}.{DOMAIN}"))
            .send()
            .with_context(|| format!("GET {path} of {app}"))?;
        let (status, body) = (answer.status(), answer.text()?);
        ensure!(status == 200, "GET {path} of {app}: {status}: {}", body.trim());
        Ok(body)
    }

    /// Status of one request to the API.
    pub(crate) fn api_status(&self, path: &str) -> Result<u16> {
        let answer = self.api(path)?;
        Ok(answer.status().as_u16())
    }

    /// What the API says of an app's instances.
    pub(crate) fn instances(&self, app: &str) -> Result<Instances> {
        let apps = self.json(&format!("/v3/apps?names={app}"))?;
        let guid = apps["resources"][0]["guid"].as_str().with_context(|| format!("there is no app {app}"))?;
        let process = self.json(&format!("/v3/apps/{guid}/processes/web"))?;
        let stats = self.json(&format!("/v3/apps/{guid}/processes/web/stats"))?;
        let all = stats["resources"].as_array().context("statistics are a list")?;
        let running: Vec<&Value> = all.iter().filter(|one| one["state"] == "RUNNING").collect();
        Ok(Instances {
            running: running.len(),
            wanted: usize::try_from(process["instances"].as_u64().context("a number of instances")?)?,
            hosts: running.iter().filter_map(|one| one["host"].as_str().map(str::to_owned)).collect(),
        })
    }

    fn json(&self, path: &str) -> Result<Value> {
        let answer = self.api(path)?;
        let status = answer.status();
        let text = answer.text()?;
        ensure!(status == 200, "GET {path}: {status}: {}", text.trim());
        serde_json::from_str(&text).with_context(|| format!("GET {path} is not JSON: {text}"))
    }

    fn api(&self, path: &str) -> Result<reqwest::blocking::Response> {
        let token = self.token()?;
        let request = self.http.get(format!("http://{BALANCER}{path}")).bearer_auth(token);
        request.send().with_context(|| format!("GET {path} of the API"))
    }

    /// The login's token; the command keeps it fresh.
    fn token(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.home.join("config.json")).context("nobody is logged in")?;
        let session: Value = serde_json::from_str(&text).context("the login's file")?;
        Ok(session["access_token"].as_str().context("the login has no token")?.to_owned())
    }
}

/// Waits for a command, which must succeed.
pub(crate) fn ended(what: &str, child: Child) -> Result<String> {
    let output = child.wait_with_output().with_context(|| format!("cupola {what}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("cupola {what}: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}
