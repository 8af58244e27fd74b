//! One event to one webhook: where it may go, how it is signed, and what counts as taken.
//!
//! A tenant's user names the address, so it could be made to reach what only this machine reaches. Addresses are
//! looked at when they are used and not only when they are given: a name can mean another host tomorrow.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::hmac;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Subscription;
use crate::api::Event;
use crate::error::{Error, Kind, Result};
use crate::io::hex::hex;
use crate::io::outbound;
use crate::platform::Platform;

const MAX_URL: usize = 2_048;

/// An address that events may be delivered to.
pub(crate) struct Target(Url);

impl Target {
    /// Reads and checks the address of a subscription.
    pub(crate) async fn admit(platform: &Platform, url: &str) -> Result<Self> {
        Self::examine(platform, url).await.map_err(refused)
    }

    /// Reads and checks an address: http or https, on loopback or a host of the configuration, and not this platform.
    /// The failure says what the address is or does, without naming it.
    pub(crate) async fn examine(platform: &Platform, url: &str) -> std::result::Result<Self, String> {
        let target = Self::read(url)?;
        let hosts = &platform.webhooks().hosts;
        let (host, port) = target.place();
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) => look_up(&host).await.map_err(|error| format!("names a host that is not known: {error}"))?,
        };
        for ip in addresses {
            check(&host, SocketAddr::new(ip, port), platform.address(), hosts)?;
        }
        Ok(target)
    }

    /// The address as it is kept.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn read(url: &str) -> std::result::Result<Self, String> {
        if url.len() > MAX_URL {
            return Err(format!("has more than {MAX_URL} characters"));
        }
        let mut url = Url::parse(url).map_err(|error| format!("is not an address such as http://127.0.0.1:9000/hook: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("must begin with http:// or https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user or a password; the signature proves where an event comes from".to_owned());
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// Host and port; the brackets of an IPv6 address are taken off.
    fn place(&self) -> (String, u16) {
        let host = self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        (host, self.0.port_or_known_default().unwrap_or_default())
    }
}

fn refused(detail: String) -> Error {
    Error::new(Kind::Invalid, "FM-EBS-WEBHOOK-URL", "events cannot be delivered to this address")
        .hint("Give the http or https address of a receiver on this machine, such as http://127.0.0.1:9000/hook.")
        .field("/delivery/url", "url", detail)
}

/// Whether an address that a host stands for may be called.
fn check(host: &str, address: SocketAddr, own: SocketAddr, hosts: &[String]) -> std::result::Result<(), String> {
    let ip = address.ip().to_canonical();
    let here = ip.is_loopback() || ip == own.ip() || own.ip().is_unspecified();
    if here && address.port() == own.port() {
        return Err("is this platform itself".to_owned());
    }
    if ip.is_loopback() || hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(format!("leads to {ip}, which is not this machine; other hosts must be allowed by the operator"))
}

async fn look_up(host: &str) -> std::result::Result<Vec<IpAddr>, std::io::Error> {
    let found: Vec<IpAddr> = tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect();
    if found.is_empty() { Err(std::io::Error::other("no address")) } else { Ok(found) }
}

/// Resolves names for the client and hands out only addresses that may be called.
struct Guarded {
    hosts: Vec<String>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let open = self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name.as_str()));
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|ip| open || ip.to_canonical().is_loopback()).map(|ip| SocketAddr::new(ip, 0)).collect();
            if allowed.is_empty() {
                return Err("the host is not on this machine any more".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Delivers events.
pub(super) struct Sender {
    platform: Platform,
}

/// The client that calls admitted addresses. It is made at the first call: reading the certificates of the system takes
/// longer than a start may.
pub(crate) fn client(platform: &Platform) -> std::result::Result<&reqwest::Client, String> {
    if let Some(client) = platform.outbound().get() {
        return Ok(client);
    }
    let policy = platform.webhooks();
    // Beyond this machine too a proxy would look the host up itself, past what is allowed here.
    let client = outbound::client(true)
        .timeout(policy.timeout)
        .user_agent(concat!("flowmaster/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Guarded { hosts: policy.hosts.clone() }))
        .build()
        .map_err(|error| format!("no client can be made: {}", innermost(&error)))?;
    Ok(platform.outbound().get_or_init(|| client))
}

impl Sender {
    pub(super) fn new(platform: &Platform) -> Self {
        Self { platform: platform.clone() }
    }

    /// Sends one event. Anything but a status of success is a failure, with its reason.
    pub(super) async fn send(&self, subscription: &Subscription, event: &Event) -> std::result::Result<(), String> {
        let target = Target::read(&subscription.url)?;
        let (host, port) = target.place();
        // Names are checked when the client resolves them; here what needs no look-up, and our port, which a restart moves.
        let hosts = &self.platform.webhooks().hosts;
        if !hosts.contains(&host) {
            let ip = host.parse::<IpAddr>().unwrap_or(IpAddr::from([127, 0, 0, 1]));
            check(&host, SocketAddr::new(ip, port), self.platform.address(), hosts)?;
        }
        let secret = self.platform.keys().open(&subscription.id, &subscription.secret).map_err(|error| error.to_string())?;
        let body = serde_json::to_string(event).map_err(|error| error.to_string())?;
        let timestamp = self.platform.now().millis() / 1000;
        let answered = client(&self.platform)?
            .post(target.0)
            .header("content-type", "application/cloudevents+json")
            .header("x-flowmaster-event", event.id.as_str())
            .header("x-flowmaster-subscription", subscription.id.as_str())
            .header("x-flowmaster-timestamp", timestamp)
            .header("x-flowmaster-signature", signature(&secret, timestamp, &body))
            .body(body)
            .send()
            .await;
        match answered {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("the receiver answered {}", response.status())),
            Err(error) if error.is_timeout() => Err("the receiver did not answer in time".to_owned()),
            Err(error) => Err(format!("the receiver cannot be reached: {}", innermost(&error))),
        }
    }
}

/// `v1=` and the HMAC-SHA256 over `<timestamp>.<body>` in hex; receivers refuse timestamps older than five minutes.
fn signature(secret: &[u8], timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(timestamp.to_string().as_bytes());
    context.update(b".");
    context.update(body.as_bytes());
    format!("v1={}", hex(context.sign().as_ref()))
}

pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str) -> std::result::Result<(), String> {
        let target = Target::read(url)?;
        let (host, port) = target.place();
        let ip = host.parse().map_err(|_| "no address".to_owned())?;
        check(&host, SocketAddr::new(ip, port), "127.0.0.1:7000".parse().unwrap(), &["10.1.1.1".to_owned()])
    }

    #[test]
    fn only_this_machine_is_called_and_never_this_platform() {
        for url in ["http://127.0.0.1:9000/hook", "https://[::1]:1/x?y=1#z", "http://127.9.9.9/", "http://10.1.1.1/", "http://2130706433/"]
        {
            checked(url).unwrap();
        }
        for url in [
            "ftp://127.0.0.1/x",
            "file:///etc/passwd",
            "not a url",
            "http://user:secret@127.0.0.1/",
            "http://127.0.0.1:7000/entities",
            "http://[::ffff:127.0.0.1]:7000/",
            "http://10.0.0.1/",
            "http://0.0.0.0:9000/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
        ] {
            assert!(checked(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_signature_covers_time_and_body() {
        let good = signature(b"key", 1, "{}");
        assert_eq!(good, "v1=".to_owned() + &hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"1.{}").as_ref()));
        assert_ne!(good, signature(b"key", 2, "{}"));
        assert_ne!(good, signature(b"key", 1, "{ }"));
    }
}
