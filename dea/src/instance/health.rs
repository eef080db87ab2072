//! When an instance counts as healthy.

use super::Address;
use cupola_protocol::dea::{HealthCheck, Start};
use std::time::Duration;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// The first pause between two tries; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause between two tries, as in dea_ng.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// How long one try may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// That the process lives, which its output tells anyway.
    Process,
    /// That its port accepts connections.
    Port,
    /// That this path answers 200.
    Http(String),
}

impl Check {
    /// What the message asks for: without a word, the port when there are routes.
    pub(crate) fn of(message: &Start) -> Self {
        match message.health_check_type {
            Some(HealthCheck::Process) => Self::Process,
            Some(HealthCheck::Port) => Self::Port,
            Some(HealthCheck::Http) => {
                let path = message.health_check_http_endpoint.clone().unwrap_or_default();
                Self::Http(if path.starts_with('/') { path } else { format!("/{path}") })
            }
            None if message.uris.is_empty() => Self::Process,
            None => Self::Port,
        }
    }

    /// Tries until it is healthy or the time is up; then says why not.
    pub(crate) async fn wait(&self, address: &Address, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let last = match self.attempt(address).await {
                Ok(()) => return Ok(()),
                Err(last) => last,
            };
            if Instant::now() + pause >= deadline {
                return Err(self.advice(address, limit, &last));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn attempt(&self, address: &Address) -> Result<(), String> {
        let (host, port) = (address.container_host.as_str(), address.container_port);
        match self {
            Self::Process => Ok(()),
            Self::Port => match timeout(TRY_TIMEOUT, TcpStream::connect((host, port))).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer".to_owned()),
            },
            Self::Http(path) => {
                // Without proxies and redirects: it is the instance that is asked.
                let client = reqwest::Client::builder()
                    .no_proxy()
                    .redirect(reqwest::redirect::Policy::none())
                    .timeout(TRY_TIMEOUT)
                    .build()
                    .map_err(|error| error.to_string())?;
                match client.get(format!("http://{host}:{port}{path}")).send().await {
                    Ok(answer) if answer.status() == reqwest::StatusCode::OK => Ok(()),
                    Ok(answer) => Err(format!("it answered {}", answer.status())),
                    Err(_) => Err("no answer".to_owned()),
                }
            }
        }
    }

    /// The historic words first: programs look for them.
    fn advice(&self, address: &Address, limit: Duration, last: &str) -> String {
        let port = address.container_port;
        let seconds = limit.as_secs();
        match self {
            Self::Http(path) => format!(
                "failed to accept connections within health check timeout: GET {path} on port {port} did not \
                 answer 200 within {seconds} s ({last})"
            ),
            Self::Process | Self::Port => format!(
                "failed to accept connections within health check timeout: nothing listened on port {port} \
                 within {seconds} s; listen on 0.0.0.0 and the port in the environment variable PORT, or push \
                 with the health check type process"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    async fn listen() -> (TcpListener, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address {
            host: String::new(),
            port: 1,
            container_host: "127.0.0.1".to_owned(),
            container_port: listener.local_addr().unwrap().port(),
        };
        (listener, address)
    }

    #[tokio::test]
    async fn a_port_is_healthy_when_it_accepts() {
        let (listener, address) = listen().await;
        Check::Port.wait(&address, Duration::from_secs(5)).await.unwrap();
        drop(listener);
        let why = Check::Port.wait(&address, Duration::from_millis(100)).await.unwrap_err();
        assert!(why.starts_with("failed to accept connections within health check timeout"), "{why}");
    }

    #[tokio::test]
    async fn an_endpoint_is_healthy_when_it_answers_200() {
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            for answer in ["503 Service Unavailable", "200 OK"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /ready HTTP/1.1"));
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Check::Http("/ready".to_owned()).wait(&address, Duration::from_secs(5)).await.unwrap();
    }
}
