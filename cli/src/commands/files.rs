//! `files` and `tail`: files of an instance, fetched by the controller from the node that has them.

use super::find_app;
use crate::{
    Error,
    api::{Api, escape_path},
    output,
};
use cupola_protocol::api::App;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use std::time::Duration;

/// Bytes of a followed file that are shown before what is new.
const BEFORE: u64 = 2000;

/// Pause before a file that has not grown for a while is followed again.
const AGAIN: Duration = Duration::from_millis(500);

/// Flags of `cupola files`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The app
    name: String,
    /// The file or directory, from the app's home on: app, logs/stdout.log
    #[arg(default_value = "")]
    path: String,
    /// The instance, by its index or its id (of one that crashed: `cupola crashes` tells it)
    #[arg(short, default_value = "0", value_name = "INDEX")]
    instance: String,
}

/// Where the API has a path of an instance. The controller is asked for the bytes: the node's own name need not
/// be known here.
fn address(app: &App, instance: &str, path: &str) -> Result<String, Error> {
    let (path, instance) = (escape_path(&inside(path)?), escape_path(instance));
    Ok(format!("/v2/apps/{}/instances/{instance}/files/{path}?redirect=false", app.guid))
}

/// The path without `.` and `..`, which mean something else in an address.
fn inside(path: &str) -> Result<String, Error> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => {
                return Err(Error::Usage(format!("{path:?} leads out of the app's home")));
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Runs `files`.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, &arguments.name).await?;
    let mut answer =
        api.fetch(&address(&app, &arguments.instance, &arguments.path)?, |request| request).await?;
    while let Some(piece) = api.piece(&mut answer).await? {
        output::bytes(&piece);
    }
    Ok(())
}

/// All of a small file, or the lines of a directory.
pub(super) async fn text(api: &mut Api, app: &App, instance: &str, path: &str) -> Result<Vec<u8>, Error> {
    let mut answer = api.fetch(&address(app, instance, path)?, |request| request).await?;
    let mut text = Vec::new();
    while let Some(piece) = api.piece(&mut answer).await? {
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

/// Runs `tail`: the end of the file, then what is written to it, until somebody ends this.
pub(crate) async fn tail(name: &str, path: &str, instance: &str) -> Result<(), Error> {
    let mut api = Api::open()?;
    let app = find_app(&mut api, name).await?;
    let address = address(&app, instance, path)?;
    let mut answer =
        api.raw(Method::GET, &address, |request| request.header(RANGE, format!("bytes=-{BEFORE}"))).await?;
    let mut offset = match (answer.status(), size(&answer)) {
        // A file without a byte has no last ones.
        (StatusCode::RANGE_NOT_SATISFIABLE, size) => size.unwrap_or(0),
        (StatusCode::PARTIAL_CONTENT, Some(size)) => {
            while let Some(piece) = api.piece(&mut answer).await? {
                output::bytes(&piece);
            }
            size
        }
        // A refusal is said as such; a directory has no parts.
        _ => {
            api.fetch(&address, |request| request).await?;
            return Err(Error::Usage(format!(
                "{path} is no file that could be followed: `cupola files {name} {path}`"
            )));
        }
    };
    loop {
        let mut growth =
            api.fetch(&format!("{address}&tail=true&tail_offset={offset}"), |request| request).await?;
        while let Some(piece) = api.piece(&mut growth).await? {
            output::bytes(&piece);
            offset += piece.len() as u64;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Where the file of a partial answer ends.
fn size(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn a_path_stays_in_the_home() {
        for (path, expected) in [("", ""), ("/app/./x/", "app/x"), ("app/../logs", "logs"), ("a b", "a b")] {
            assert_eq!(inside(path).unwrap(), expected);
        }
        for path in ["..", "app/../../etc"] {
            assert!(inside(path).unwrap_err().to_string().contains("leads out"), "{path}");
        }
    }
}
