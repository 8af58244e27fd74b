//! How notifications leave the platform: relay, gateways, attempts and limits.

use std::time::Duration;

use aws_lc_rs::hmac;
use lettre::message::Mailbox;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::api::notifications::NotificationChannel;
use crate::error::{Error, Kind, Result};
use crate::io::outbound;
use crate::io::standard_webhooks;

/// How notifications are delivered.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// Sender of e-mails, such as `FlowMaster <no-reply@acme.com>`.
    pub from: String,
    /// Relay that e-mails are sent to. Without one they are written to files in the folder `mail` of the data folder.
    pub smtp: Option<Smtp>,
    /// Gateways for text messages; the next is called where one before fails.
    pub sms: Vec<Gateway>,
    /// Gateways for alerts of apps; the next is called where one before fails.
    pub push: Vec<Gateway>,
    /// How often a delivery is tried before it is given up.
    pub attempts: u32,
    /// How long to wait after the first failure; it doubles with each.
    pub first_delay: Duration,
    /// The longest wait between two attempts.
    pub longest_delay: Duration,
    /// How long a relay or a gateway may take.
    pub timeout: Duration,
    /// Most notifications that one recipient gets in an hour; 0 sets no limit.
    pub per_recipient: u32,
}

/// An SMTP relay.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: Encryption,
    /// User and password, where the relay wants them.
    pub credentials: Option<(String, SecretString)>,
}

/// How a connection to a relay is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// TLS by STARTTLS; a relay without it gets nothing.
    StartTls,
    /// None: only for a relay on this machine.
    Plain,
}

/// A gateway that takes messages as a webhook.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Address: http or https, on loopback or a host of [`crate::platform::Webhooks::hosts`].
    pub url: String,
    /// Key of the signatures, `whsec_` and base64 as Standard Webhooks writes it. Without one nothing is signed.
    pub secret: Option<SecretString>,
}

impl Default for Notifications {
    fn default() -> Self {
        Self {
            from: "FlowMaster <no-reply@localhost>".to_owned(),
            smtp: None,
            sms: Vec::new(),
            push: Vec::new(),
            attempts: 10,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_mins(5),
            timeout: Duration::from_secs(10),
            per_recipient: 60,
        }
    }
}

impl Notifications {
    /// Rejects what could never deliver, before the platform starts.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |what: String| Error::configuration(Kind::Invalid, "FM-NS-CONFIGURATION", what);
        self.from.parse::<Mailbox>().map_err(|error| refused(format!("the sender of e-mails is not an address: {error}")))?;
        if let Some(smtp) = self.smtp.as_ref().filter(|smtp| smtp.encryption == Encryption::Plain) {
            let is_here = Url::parse(&format!("smtp://{}/", smtp.host)).is_ok_and(|url| outbound::is_loopback(&url));
            if !is_here {
                let message = format!("the relay {} is on another machine and would get e-mails and password in the clear", smtp.host);
                return Err(refused(message).hint("Use TLS or STARTTLS."));
            }
        }
        for gateway in self.sms.iter().chain(&self.push) {
            gateway.key().map_err(|fault| refused(format!("a gateway of notifications {fault}")))?;
        }
        Ok(())
    }

    /// The gateways of a channel.
    pub(super) fn gateways(&self, channel: &NotificationChannel) -> &[Gateway] {
        match channel {
            NotificationChannel::Sms => &self.sms,
            NotificationChannel::Push => &self.push,
            _ => &[],
        }
    }

    /// Whether there is a way out for a channel.
    pub(super) fn offers(&self, channel: &NotificationChannel) -> bool {
        *channel == NotificationChannel::Email || !self.gateways(channel).is_empty()
    }

    /// How long to wait after so many failures.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        self.first_delay.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(self.longest_delay)
    }
}

impl Gateway {
    /// The key of the signatures; the failure completes a sentence about the gateway.
    pub(super) fn key(&self) -> Result<Option<hmac::Key>, &'static str> {
        let Some(secret) = &self.secret else { return Ok(None) };
        standard_webhooks::key_of(secret.expose_secret()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(host: &str, encryption: Encryption) -> Notifications {
        let smtp = Smtp { host: host.to_owned(), port: 25, encryption, credentials: None };
        Notifications { smtp: Some(smtp), ..Notifications::default() }
    }

    #[test]
    fn only_a_relay_on_this_machine_gets_mail_in_the_clear() {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            relay(host, Encryption::Plain).check().unwrap();
        }
        for host in ["mail.acme.com", "10.0.0.1", "localhost.acme.com", "127.0.0.1@mail.acme.com"] {
            assert_eq!(relay(host, Encryption::Plain).check().unwrap_err().code(), "FM-NS-CONFIGURATION", "{host}");
        }
        relay("mail.acme.com", Encryption::StartTls).check().unwrap();
    }

    #[test]
    fn a_sender_and_a_key_that_are_none_are_refused() {
        let options = Notifications { from: "nobody".to_owned(), ..Notifications::default() };
        assert_eq!(options.check().unwrap_err().code(), "FM-NS-CONFIGURATION");
        let gateway = Gateway { url: "http://127.0.0.1:9/".to_owned(), secret: Some("plain text".into()) };
        let options = Notifications { sms: vec![gateway], ..Notifications::default() };
        assert_eq!(options.check().unwrap_err().code(), "FM-NS-CONFIGURATION");
    }
}
