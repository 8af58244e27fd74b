//! Why an attempt of a call failed, whether it may be repeated, and what it tells of the system.

use std::time::Duration;

use super::store::Ended;
use crate::error::{Error, Kind};
use crate::platform::outbound::innermost;

/// Why an attempt failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) status_code: Option<u16>,
    /// Whether the same call may succeed later.
    pub(super) is_transient: bool,
    /// Whether the system may have carried it out all the same.
    pub(super) sent: bool,
    pub(super) pause: Option<Duration>,
    /// What it tells of the system.
    pub(super) ended: Ended,
}

impl Failure {
    /// The call cannot be made as things are.
    pub(super) fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Conflict,
            code,
            message: message.into(),
            status_code: None,
            is_transient: false,
            sent: false,
            pause: None,
            ended: Ended::Unsent,
        }
    }

    /// The system is away; the call may have arrived.
    pub(super) fn away(code: &'static str, kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, is_transient: true, sent: true, ended: Ended::Away, ..Self::refused(code, message) }
    }

    /// What went wrong on the way to a system before anything was sent.
    pub(super) fn of(error: &Error) -> Self {
        let code = if error.kind() == Kind::NotFound { "FM-IHS-NOT-FOUND" } else { "FM-IHS-REQUEST" };
        let code = if error.code() == "FM-IHS-CREDENTIALS" { "FM-IHS-CREDENTIALS" } else { code };
        Self { kind: error.kind(), ..Self::refused(code, error.message()) }
    }

    /// The failure as its caller gets it.
    pub(super) fn into_error(self) -> Error {
        let next = match self.code {
            "FM-IHS-HOST-NOT-ALLOWED" => "Have the operator allow the host, or change baseUrl with integrations_update.",
            "FM-IHS-SIGN-IN" | "FM-IHS-CREDENTIALS" => "Set the credentials anew with integrations_update, then try integrations_connect.",
            "FM-IHS-REJECTED" => "Correct path, query or body by what the system says.",
            "FM-IHS-REDIRECT" => "Set baseUrl to the new address with integrations_update; redirects are not followed.",
            "FM-IHS-MAPPING" => "Try the mapping with integrations_transform and correct it with integrations_update.",
            _ if self.is_transient => "Try again later, or queue the call with async: true; integrations_connect tests the connection.",
            _ => "integrations_get shows the integration; integrations_connect tests the connection.",
        };
        let error = Error::new(self.kind, self.code, self.message).hint(next);
        match self.pause {
            Some(pause) if self.is_transient => error.retry_after(pause),
            _ => error,
        }
    }
}

/// What an error of the connection means.
pub(super) fn failure_of(who: &str, error: &reqwest::Error) -> Failure {
    let failure = if error.is_timeout() {
        Failure::away("FM-IHS-TIMEOUT", Kind::Timeout, format!("{who} did not answer in time"))
    } else {
        Failure::away("FM-IHS-UNREACHABLE", Kind::Unavailable, format!("{who} cannot be reached: {}", innermost(error)))
    };
    Failure { sent: !error.is_connect(), ..failure }
}
