//! E-mail: a message in its format, to an SMTP relay or to a file in the data folder.

use std::path::Path;
use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::ExposeSecret as _;

use super::options::{Encryption, Smtp};
use super::queue::{Due, Failure};
use super::text;
use crate::io::private_files;
use crate::platform::Platform;

/// The folder of e-mails within the data folder.
const FOLDER: &str = "mail";
const FILES: &str = "files";

/// Sends an e-mail, and answers the provider that took it.
pub(super) async fn send(platform: &Platform, due: &Due) -> Result<String, Failure> {
    let smtp = platform.notifications().smtp.as_ref();
    let provider = smtp.map_or_else(|| FILES.to_owned(), |smtp| smtp.host.clone());
    let failed = |reason: String, is_permanent| Failure { provider: provider.clone(), reason, is_permanent };
    let message = message_of(&platform.notifications().from, due).map_err(|reason| failed(reason, true))?;
    if let Some(smtp) = smtp {
        let refused = |error: &lettre::transport::smtp::Error| error.status().is_some_and(|code| refuses_message(u16::from(code)));
        let sent = relay(smtp, platform.notifications().timeout, message).await;
        sent.map_err(|error| failed(error.to_string(), refused(&error)))?;
    } else {
        let (folder, id) = (platform.data_dir().join(FOLDER), due.notification.clone());
        let written = tokio::task::spawn_blocking(move || write(&folder, &id, &message.formatted())).await;
        written.map_err(|error| failed(error.to_string(), false))?.map_err(|error| failed(error.to_string(), false))?;
    }
    Ok(provider)
}

/// The e-mail of a delivery. A repeat after a crash has the same `Message-ID`.
fn message_of(from: &str, due: &Due) -> Result<Message, String> {
    let sent = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(due.created_at.millis()).unwrap_or_default());
    let tenant = HeaderValue::new(HeaderName::new_from_ascii_str("X-FlowMaster-Tenant"), text::one_line(&due.tenant));
    Message::builder()
        .from(from.parse::<Mailbox>().map_err(|error| format!("the sender is not an address: {error}"))?)
        .to(due.address().parse::<Mailbox>().map_err(|error| format!("the recipient is not an address: {error}"))?)
        .subject(&*due.subject)
        .date(sent)
        .message_id(Some(format!("<{}@flowmaster>", due.message_id())))
        .raw_header(tenant)
        .header(ContentType::TEXT_PLAIN)
        .body(due.body.clone())
        .map_err(|error| error.to_string())
}

/// Writes a file that only its owner can read; a repeat replaces it.
fn write(folder: &Path, id: &str, bytes: &[u8]) -> std::io::Result<()> {
    private_files::folder(folder)?;
    private_files::replace_by(&folder.join(format!("{id}.new")), &folder.join(format!("{id}.eml")), bytes)
}

/// Removes the file of an e-mail where there is one.
pub(super) fn remove(data_dir: &Path, id: &str) -> std::io::Result<()> {
    match std::fs::remove_file(data_dir.join(FOLDER).join(format!("{id}.eml"))) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn relay(smtp: &Smtp, timeout: Duration, message: Message) -> Result<(), lettre::transport::smtp::Error> {
    let tls = match smtp.encryption {
        Encryption::Tls => Tls::Wrapper(TlsParameters::new(smtp.host.clone())?),
        Encryption::StartTls => Tls::Required(TlsParameters::new(smtp.host.clone())?),
        Encryption::Plain => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.host.trim_matches(['[', ']']))
        .port(smtp.port)
        .timeout(Some(timeout))
        .tls(tls);
    if let Some((user, password)) = &smtp.credentials {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
    }
    builder.build().send(message).await.map(drop)
}

/// Whether a relay's status says that it refuses this message or its recipient, which another attempt does not change.
/// Other failures, such as a password that the relay does not take, can be mended while the message waits.
fn refuses_message(status: u16) -> bool {
    (550..=559).contains(&status)
}
