//! What the platform is and offers, who is logged in, and requests that no other command makes.

use super::{login, target};
use crate::{Error, api::Api, output, session::Session};
use clap::Subcommand;
use cupola_protocol::api::{Buildpack, Info, Root, Stack};
use reqwest::{Method, header::CONTENT_TYPE};

/// The platform and the session.
#[derive(Debug, Subcommand)]
pub enum PlatformCommand {
    /// What the platform is, and who is logged in
    Info,
    /// The version of this command
    Version,
    /// The APIs that were logged in to from here
    Targets,
    /// Who is logged in
    #[command(visible_alias = "whoami")]
    User,
    /// Log in without questions
    Auth {
        /// User name; CF_USERNAME in the environment when missing
        user: Option<String>,
        /// Password; other users of this machine can see it here: better CF_PASSWORD in the environment
        password: Option<String>,
    },
    /// Print a token for the API
    OauthToken,
    /// Send a request to the API, with the session's token
    Curl {
        /// Path on the API, such as /v3/apps
        path: String,
        /// Method [default: GET, or POST with a body]
        #[arg(short = 'X', value_name = "METHOD")]
        method: Option<String>,
        /// Body, or @FILE
        #[arg(short = 'd', value_name = "BODY", allow_hyphen_values = true)]
        data: Option<String>,
        /// Header, such as "accept: text/plain"; may come several times
        #[arg(short = 'H', value_name = "HEADER")]
        headers: Vec<String>,
        /// Show status and headers of the answer
        #[arg(short = 'i')]
        include: bool,
        /// Fail when the answer is a refusal
        #[arg(short, long)]
        fail: bool,
    },
    /// What apps are built with and run on: buildpacks and stacks
    #[command(visible_alias = "frameworks")]
    Runtimes,
    /// The stacks that apps can run on
    Stacks,
    /// The buildpacks, in the order in which they are asked
    Buildpacks,
}

impl PlatformCommand {
    pub(crate) async fn run(self) -> Result<(), Error> {
        match self {
            Self::Info => info().await,
            Self::Version => {
                output::line(format_args!("cupola {}", env!("CARGO_PKG_VERSION")));
                Ok(())
            }
            Self::Targets => target::known(),
            Self::User => {
                let session = Api::open()?.session;
                match session.user.filter(|_| session.access_token.is_some()) {
                    Some(user) => output::line(user),
                    None => return Err(Error::NotLoggedIn),
                }
                Ok(())
            }
            Self::Auth { user, password } => login::auth(user, password).await,
            Self::OauthToken => {
                let token = Api::open()?.fresh_token().await?;
                output::line(format_args!("bearer {token}"));
                Ok(())
            }
            Self::Curl { path, method, data, headers, include, fail } => {
                curl(&path, Request { method, data, headers }, include, fail).await
            }
            Self::Runtimes => {
                let mut api = Api::open()?;
                buildpacks(&mut api).await?;
                output::line("");
                stacks(&mut api).await
            }
            Self::Stacks => stacks(&mut Api::open()?).await,
            Self::Buildpacks => buildpacks(&mut Api::open()?).await,
        }
    }
}

async fn info() -> Result<(), Error> {
    let session = Session::load()?;
    let base = session.api_address();
    let api = Api::open()?;
    api.probe().await?;
    let info: Info = api.get_public("/v3/info").await?;
    let root: Root = api.get_public("/").await?;
    let v3 = root.links.get("cloud_controller_v3").and_then(Option::as_ref);
    let version = v3.and_then(|link| link.meta.get("version")).cloned().unwrap_or_default();
    for (what, text) in [
        ("platform", format!("{} {}: {}", info.name, info.build, info.description)),
        ("version", format!("API v{version}")),
        ("client", format!("cupola {}", env!("CARGO_PKG_VERSION"))),
    ] {
        output::line(format_args!("{what:<9} {text}"));
    }
    output::line("");
    debug_assert_eq!(api.base(), base.trim_end_matches('/'));
    target::show(&api);
    Ok(())
}

async fn stacks(api: &mut Api) -> Result<(), Error> {
    let stacks: Vec<Stack> = api.list("/v3/stacks").await?;
    let default = |stack: &Stack| if stack.default { "default" } else { "" };
    let row = |stack: Stack| {
        let default = default(&stack).to_owned();
        vec![stack.name, default, stack.description.unwrap_or_default()]
    };
    output::table(&["stack", "", ""], &stacks.into_iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn buildpacks(api: &mut Api) -> Result<(), Error> {
    let buildpacks: Vec<Buildpack> = api.list("/v3/buildpacks").await?;
    let row = |one: Buildpack| {
        let enabled = if one.enabled { "enabled" } else { "disabled" };
        vec![one.position.to_string(), one.name, one.stack.unwrap_or_default(), enabled.to_owned()]
    };
    output::table(&["", "buildpack", "stack", "state"], &buildpacks.into_iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// What a request is made of.
struct Request {
    method: Option<String>,
    data: Option<String>,
    headers: Vec<String>,
}

async fn curl(path: &str, request: Request, include: bool, fail: bool) -> Result<(), Error> {
    if !path.starts_with('/') {
        let example = "`cupola curl /v3/apps`";
        return Err(Error::Usage(format!(
            "{path:?} is no path of the API: it begins with /, as in {example}"
        )));
    }
    let body = match request.data {
        Some(data) => match data.strip_prefix('@') {
            Some(file) => Some(std::fs::read(file).map_err(|source| Error::File {
                action: "read the body",
                path: file.into(),
                source,
            })?),
            None => Some(data.into_bytes()),
        },
        None => None,
    };
    let method =
        request.method.map_or(if body.is_some() { "POST" } else { "GET" }.to_owned(), |m| m.to_uppercase());
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Error::Usage(format!("{method:?} is no method of HTTP")))?;
    let mut headers = Vec::new();
    for header in &request.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Error::Usage(format!("{header:?} is no header: write it as \"name: value\"")))?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let mut api = Api::open()?;
    let build = |mut request: reqwest::RequestBuilder| {
        if let Some(body) = &body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let mut answer = api.raw(method, path, build).await?;
    let status = answer.status();
    if include {
        output::line(format_args!("{:?} {status}", answer.version()));
        for (name, value) in answer.headers() {
            output::line(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
        output::line("");
    }
    let mut last = b'\n';
    while let Some(piece) = api.piece(&mut answer).await? {
        last = piece.last().copied().unwrap_or(last);
        output::bytes(&piece);
    }
    if last != b'\n' {
        output::line("");
    }
    if fail && !status.is_success() {
        let detail = format!("the API answered {status}");
        return Err(Error::Refused { status: status.as_u16(), detail });
    }
    Ok(())
}
