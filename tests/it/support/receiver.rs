//! A receiver of webhooks that answers as it is told and keeps what came; it verifies every message by a library of
//! Standard Webhooks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// The folder of the test authority and of the certificates that it signed, all of them valid until 2120.
pub const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/tls");

/// See the module.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    scheme: &'static str,
    /// The keys by which every message must be signed.
    pub secrets: Arc<Mutex<Vec<String>>>,
    came: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
    behaviour: Behaviour,
}

/// What a receiver does beyond answering by statuses.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// It sends another challenge back.
    pub lies: bool,
    /// It never answers a challenge.
    pub ignores_challenge: bool,
    /// Where it redirects a challenge.
    pub redirects_to: Option<String>,
    /// The certificate by which it speaks TLS.
    pub certificate: Option<&'static str>,
}

/// The status by which a test has a receiver never answer.
pub const NEVER: u16 = 0;

impl Receiver {
    /// Listens; it answers events by statuses, then by 200.
    pub async fn listen(answers: impl IntoIterator<Item = u16>, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            scheme: if behaviour.certificate.is_some() { "https" } else { "http" },
            secrets: Arc::new(Mutex::new(vec![secret(1)])),
            came: Arc::default(),
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            behaviour,
        };
        let app = Router::new()
            .route("/hook", post(async |State(receiver): State<Self>, headers, body| receiver.receive(headers, body).await))
            .with_state(receiver.clone());
        match receiver.behaviour.certificate {
            Some(name) => drop(tokio::spawn(async move { axum::serve(Tls(listener, acceptor(name)), app).await })),
            None => drop(tokio::spawn(async move { axum::serve(listener, app).await })),
        }
        receiver
    }

    async fn receive(self, headers: HeaderMap, body: Bytes) -> (StatusCode, [(&'static str, String); 1], String) {
        for secret in self.secrets.lock().unwrap().iter() {
            Webhook::new(secret).unwrap().verify(&body, &headers).unwrap();
        }
        let message: Value = serde_json::from_slice(&body).unwrap();
        let (is_challenge, challenge) = (message["type"] == "verification", message["challenge"].clone());
        let answer = if is_challenge { None } else { self.answers.lock().unwrap().pop_front() };
        self.came.lock().unwrap().push((headers, message));
        let Behaviour { lies, ignores_challenge, redirects_to, .. } = &self.behaviour;
        if answer == Some(NEVER) || (is_challenge && *ignores_challenge) {
            std::future::pending::<()>().await;
        }
        let location = [("location", redirects_to.clone().unwrap_or_else(|| "/hook".to_owned()))];
        match (is_challenge, redirects_to) {
            (true, Some(_)) => (StatusCode::TEMPORARY_REDIRECT, location, String::new()),
            (true, None) => {
                let echo = if *lies { json!("something else") } else { challenge };
                (StatusCode::OK, location, json!({ "challenge": echo }).to_string())
            }
            (false, _) => (StatusCode::from_u16(answer.unwrap_or(200)).unwrap(), location, String::new()),
        }
    }

    pub fn url(&self) -> String {
        format!("{}://{}/hook", self.scheme, self.address)
    }

    /// The messages of a kind so far: events are without one.
    pub fn messages(&self, kind: &Value) -> Vec<(HeaderMap, Value)> {
        self.came.lock().unwrap().iter().filter(|(_, message)| message["type"] == *kind).cloned().collect()
    }

    /// The numbers of the events so far.
    pub fn numbers(&self) -> Vec<u64> {
        self.messages(&Value::Null).iter().map(|(_, event)| event["data"]["data"]["number"].as_u64().unwrap()).collect()
    }

    /// Waits for events with numbers.
    pub async fn hears(&self, expected: &[u64]) {
        for _ in 0..600 {
            if self.numbers() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.numbers(), expected);
    }

    /// Waits for the only message of a kind.
    pub async fn only(&self, kind: &str) -> (HeaderMap, Value) {
        for _ in 0..600 {
            if let [message] = &self.messages(&json!(kind))[..] {
                return message.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not one message of {kind}: {:?}", self.messages(&json!(kind)));
    }

    /// The same, as if it were at another address.
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.parse().unwrap(), ..self.clone() }
    }

    /// The parameters of a subscription to `order.*`.
    pub fn params(&self) -> Value {
        params(&self.url())
    }
}

/// The parameters of a subscription to `order.*` at an address.
pub fn params(url: &str) -> Value {
    json!({
        "name": "event.published", "arguments": { "topic": "order.*" },
        "delivery": { "mode": "webhook", "url": url, "secret": secret(1) },
    })
}

/// A key.
pub fn secret(byte: u8) -> String {
    format!("whsec_{}", STANDARD.encode([byte; 32]))
}

/// TLS by a certificate of the folder.
fn acceptor(name: &str) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(format!("{TLS}/{name}.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{TLS}/{name}.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}

/// Connections by TLS; those whose handshake fails are left out.
struct Tls(TcpListener, TlsAcceptor);

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
