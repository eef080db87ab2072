//! The client of the controller's API: requests with a token, refreshed when it has expired, and refusals in the
//! controller's own words.

use crate::{
    Error,
    patience::{self, Patience},
    session::Session,
};
use cupola_protocol::api::{ErrorBody, Page, Token};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, multipart::Form};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may be silent; uploads and downloads of any length go on while they move.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// Client name of the OAuth grants: the official CLI's, with an empty secret.
const OAUTH_CLIENT: &str = "cf";

/// A session with its client.
pub(crate) struct Api {
    /// What stands on disk.
    pub session: Session,
    http: Client,
    base: String,
    patience: Patience,
}

impl Api {
    /// From the session on disk.
    pub(crate) fn open() -> Result<Self, Error> {
        let session = Session::load()?;
        let base = session.api_address();
        // Tokens are for the API that gave them: another one must not see them.
        let session = if session.is_of(&base) { session } else { session.forgotten(None) };
        Ok(Self::at(session, &base))
    }

    /// At an address.
    pub(crate) fn at(session: Session, base: &str) -> Self {
        let http = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .user_agent(concat!("cupola/", env!("CARGO_PKG_VERSION")))
            // The API is named by its user; a proxy of the machine is for other addresses.
            .no_proxy()
            // An answer that leads elsewhere is an answer: `curl` shows it, and our tokens stay with the API.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the client's settings are constants");
        Self { session, http, base: base.trim_end_matches('/').to_owned(), patience: Patience::default() }
    }

    /// The API's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// GET of JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Error> {
        let answer = self.send(Method::GET, path, |request| request).await?;
        self.json(answer).await
    }

    /// Every resource of a list, page by page.
    pub(crate) async fn list<T: DeserializeOwned>(&mut self, path: &str) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut path = path.to_owned();
        loop {
            let page: Page<T> = self.get(&path).await?;
            all.extend(page.resources);
            match page.pagination.next {
                Some(next) => path = self.relative(&next.href),
                None => return Ok(all),
            }
        }
    }

    /// Sends JSON with any method, and reads JSON.
    pub(crate) async fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let answer = self.send(method, path, |request| request.json(body)).await?;
        self.json(answer).await
    }

    /// POST without a body; the answer's JSON does not matter.
    pub(crate) async fn act(&mut self, path: &str) -> Result<(), Error> {
        self.send(Method::POST, path, |request| request).await.map(drop)
    }

    /// Sends any request. `Location`, when there is one, is the job to wait for.
    pub(crate) async fn send_for_job(
        &mut self,
        method: Method,
        path: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Option<String>, Error> {
        let answer = self.send(method, path, build).await?;
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        Ok(location.map(|href| self.relative(href)))
    }

    /// GET of bytes, as they come: a file of an instance.
    pub(crate) async fn fetch(
        &mut self,
        path: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        self.send(Method::GET, path, build).await
    }

    /// The next piece of an answer; none at its end.
    pub(crate) async fn piece(&self, answer: &mut Response) -> Result<Option<bytes::Bytes>, Error> {
        answer.chunk().await.map_err(|source| self.unreachable(source))
    }

    /// Sends any request, and gives any answer, refusals too.
    pub(crate) async fn raw(
        &mut self,
        method: Method,
        path: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        self.send_any(method, path, build).await.map(|(answer, _)| answer)
    }

    /// A token that is good now: a new one.
    pub(crate) async fn fresh_token(&mut self) -> Result<String, Error> {
        if self.session.access_token.is_none() {
            return Err(Error::NotLoggedIn);
        }
        self.refresh().await?;
        self.session.access_token.clone().ok_or(Error::NotLoggedIn)
    }

    /// Sends a request with the token, and takes success alone.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let (answer, repeated) = self.send_any(method.clone(), path, build).await?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED => Err(unauthorized(answer).await),
            // The first time has removed it, though nobody heard of it.
            StatusCode::NOT_FOUND if repeated && method == Method::DELETE => Ok(answer),
            _ => Err(refusal(answer).await),
        }
    }

    /// Sends a request with the token; refreshes the token once when it has expired. While the API is away, what may
    /// be sent twice is tried again, and so is what was never sent; says whether it was.
    async fn send_any(
        &mut self,
        method: Method,
        path: &str,
        build: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<(Response, bool), Error> {
        let repeatable = patience::is_repeatable(&method, path);
        let (mut refreshed, mut repeated) = (false, false);
        loop {
            let Some(token) = self.session.access_token.clone() else { return Err(Error::NotLoggedIn) };
            let request = self.http.request(method.clone(), self.url(path)).bearer_auth(token);
            match build(request).send().await {
                Ok(answer) if patience::is_passing(answer.status()) => {
                    let why = format!("it answers {}", answer.status());
                    if !repeatable || !self.patience.again(&why).await {
                        return Ok((answer, repeated));
                    }
                }
                Ok(answer) => {
                    self.patience.answered();
                    if answer.status() != StatusCode::UNAUTHORIZED || refreshed {
                        return Ok((answer, repeated));
                    }
                    self.refresh().await?;
                    refreshed = true;
                    continue;
                }
                Err(error) => {
                    let unsent = error.is_connect();
                    let error = self.unreachable(error);
                    if !(unsent || repeatable) || !self.goes_on(&error).await {
                        return Err(error);
                    }
                }
            }
            repeated = true;
        }
    }

    /// After a failure that may pass: pauses, tells the user once, and says whether to go on.
    pub(crate) async fn goes_on(&mut self, error: &Error) -> bool {
        error.is_passing() && self.patience.again(&crate::error::chain(error)).await
    }

    /// A multipart upload. `form` is asked for it anew when the token has to be refreshed. It is not sent again by
    /// itself: whether the first one has arrived, the package says.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &mut self,
        path: &str,
        form: impl Fn() -> Result<Form, Error>,
    ) -> Result<T, Error> {
        let mut refreshed = false;
        loop {
            let Some(token) = self.session.access_token.clone() else { return Err(Error::NotLoggedIn) };
            let request = self.http.post(self.url(path)).bearer_auth(token).multipart(form()?);
            let answer = request.send().await.map_err(|source| self.unreachable(source))?;
            match answer.status() {
                status if status.is_success() => return self.json(answer).await,
                StatusCode::UNAUTHORIZED if !refreshed => {
                    self.refresh().await?;
                    refreshed = true;
                }
                StatusCode::UNAUTHORIZED => return Err(Error::Expired),
                _ => return Err(refusal(answer).await),
            }
        }
    }

    /// Logs in.
    pub(crate) async fn login(&mut self, user: &str, password: &str) -> Result<(), Error> {
        let form = [("grant_type", "password"), ("username", user), ("password", password)];
        let token = self.token(&form).await?;
        self.session.api = Some(self.base.clone());
        self.session.user = Some(user.to_owned());
        self.session.know();
        self.keep(token)
    }

    async fn refresh(&mut self) -> Result<(), Error> {
        let Some(refresh) = self.session.refresh_token.clone() else { return Err(Error::Expired) };
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
        match self.token(&form).await {
            Ok(token) => self.keep(token),
            Err(Error::WrongCredentials) => Err(Error::Expired),
            Err(error) => Err(error),
        }
    }

    fn keep(&mut self, token: Token) -> Result<(), Error> {
        self.session.access_token = Some(token.access_token);
        if !token.refresh_token.is_empty() {
            self.session.refresh_token = Some(token.refresh_token);
        }
        self.session.save()
    }

    async fn token(&mut self, form: &[(&str, &str)]) -> Result<Token, Error> {
        loop {
            let request =
                self.http.post(self.url("/oauth/token")).basic_auth(OAUTH_CLIENT, Some("")).form(form);
            let error = match request.send().await {
                Ok(answer) if answer.status().is_success() => return self.json(answer).await,
                Ok(answer)
                    if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST) =>
                {
                    return Err(Error::WrongCredentials);
                }
                Ok(answer) => refusal(answer).await,
                Err(error) => self.unreachable(error),
            };
            if !self.goes_on(&error).await {
                return Err(error);
            }
        }
    }

    /// GET of JSON that everybody may see.
    pub(crate) async fn get_public<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.http.get(self.url(path)).send().await.map_err(|source| self.unreachable(source))?;
        self.json(answer).await
    }

    /// GET without a token: to see whether there is an API at all.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        let url = self.url("/");
        let answer = self.http.get(&url).send().await.map_err(|source| self.unreachable(source))?;
        let status = answer.status();
        let known = answer.json::<serde_json::Value>().await.is_ok_and(|root| root.get("links").is_some());
        if known { Ok(()) } else { Err(Error::NotAnApi { url, status: status.as_u16() }) }
    }

    async fn json<T: DeserializeOwned>(&self, answer: Response) -> Result<T, Error> {
        let (url, status) = (answer.url().to_string(), answer.status().as_u16());
        answer.json().await.map_err(|source| match source.is_decode() {
            true => Error::NotAnApi { url, status },
            false => self.unreachable(source),
        })
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        Error::Unreachable { api: self.base.clone(), source }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The path of a link: we go on speaking to the address that the user gave.
    fn relative(&self, href: &str) -> String {
        match reqwest::Url::parse(href) {
            Ok(url) => match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            },
            Err(_) => href.to_owned(),
        }
    }
}

/// A 401 that outlives a new token: the login is over, or, as UAA says it of a password, what was sent is wrong.
async fn unauthorized(answer: Response) -> Error {
    match answer.json::<ErrorBody>().await {
        Ok(body) if body.errors.iter().any(|error| error.title == "unauthorized") => {
            Error::Refused { status: 401, detail: body.to_string() }
        }
        _ => Error::Expired,
    }
}

async fn refusal(answer: Response) -> Error {
    let (url, status) = (answer.url().to_string(), answer.status().as_u16());
    match answer.json::<ErrorBody>().await {
        Ok(body) if !body.errors.is_empty() => Error::Refused { status, detail: body.to_string() },
        _ => Error::NotAnApi { url, status },
    }
}

/// A path inside a path, escaped piece by piece.
pub(crate) fn escape_path(path: &str) -> String {
    let piece = |piece: &str| escape(piece).replace('+', "%20");
    path.split('/').map(piece).collect::<Vec<_>>().join("/")
}

/// A value inside a query, escaped.
pub(crate) fn escape(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}
