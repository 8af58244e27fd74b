//! The one error of the crate. It has two faces: `server/answer.rs` for models, `platform/problem.rs` for HTTP.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::api::{FieldError, Problem};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where a failure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This program judged or failed.
    Here,
    /// The platform answered so.
    Platform,
    /// The operator has to change a setting, a file or an account.
    Configuration,
}

/// What kind of failure it is; decides the HTTP status and whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request could not be read (400).
    Malformed,
    /// The request was read and makes no sense (422).
    Invalid,
    /// The caller is unknown (401).
    Unauthenticated,
    /// The caller may not (403).
    Forbidden,
    /// There is no such thing, or not in this tenant (404).
    NotFound,
    /// The state does not allow it (409).
    Conflict,
    /// It changed meanwhile (412).
    Changed,
    /// It is too large (413).
    TooLarge,
    /// The body is of another type (415).
    MediaType,
    /// Too many calls (429).
    RateLimited,
    /// A person or the operator's policy said no.
    Refused,
    /// It is not offered (501).
    Unsupported,
    /// The platform cannot be reached or is down (503).
    Unavailable,
    /// No answer in time (504).
    Timeout,
    /// The caller took the call back.
    Cancelled,
    /// The other side answered something that cannot be understood (502).
    BadAnswer,
    /// Our own fault (500).
    Internal,
}

impl Kind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::Changed,
        Self::TooLarge,
        Self::MediaType,
        Self::RateLimited,
        Self::Refused,
        Self::Unsupported,
        Self::Unavailable,
        Self::Timeout,
        Self::Cancelled,
        Self::BadAnswer,
        Self::Internal,
    ];

    /// The HTTP status of the kind.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden | Self::Refused => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Changed => 412,
            Self::TooLarge => 413,
            Self::MediaType => 415,
            Self::Invalid => 422,
            Self::RateLimited => 429,
            Self::Cancelled => 499,
            Self::Internal => 500,
            Self::Unsupported => 501,
            Self::BadAnswer => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The kind that an HTTP status stands for.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 | 410 => Self::NotFound,
            409 => Self::Conflict,
            412 => Self::Changed,
            413 => Self::TooLarge,
            415 => Self::MediaType,
            422 => Self::Invalid,
            429 => Self::RateLimited,
            501 => Self::Unsupported,
            408 | 504 => Self::Timeout,
            502 | 503 => Self::Unavailable,
            400..=499 => Self::Malformed,
            500..=599 => Self::Internal,
            _ => Self::BadAnswer,
        }
    }

    /// What the kind is called in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Invalid => "The request makes no sense",
            Self::Unauthenticated => "Not signed in",
            Self::Forbidden => "Not permitted",
            Self::NotFound => "Not found",
            Self::Conflict => "The state does not allow it",
            Self::Changed => "It changed meanwhile",
            Self::TooLarge => "Too large",
            Self::MediaType => "Not JSON",
            Self::RateLimited => "Too many calls",
            Self::Refused => "Refused",
            Self::Unsupported => "Not supported",
            Self::Unavailable => "Unavailable",
            Self::Timeout => "No answer in time",
            Self::Cancelled => "Cancelled",
            Self::BadAnswer => "The answer cannot be understood",
            Self::Internal => "An internal error",
        }
    }
}

/// A failure with what its reader needs: a stable code, one sentence, and what to do next.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    origin: Origin,
    code: Cow<'static, str>,
    message: String,
    hint: Option<String>,
    operation: Option<&'static str>,
    fields: Vec<FieldError>,
    transient: bool,
    unsent: bool,
    conclusive: bool,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of a kind, with its code and one sentence.
    #[must_use]
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            origin: Origin::Here,
            code: code.into(),
            message: message.into(),
            hint: None,
            operation: None,
            fields: Vec::new(),
            transient: matches!(kind, Kind::RateLimited | Kind::Unavailable | Kind::Timeout),
            unsent: false,
            conclusive: false,
            retry_after: None,
            request_id: None,
            source: None,
        }))
    }

    /// A failure that only the operator can mend, with a setting, a file or an account.
    #[must_use]
    pub fn configuration(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(kind, code, message).of_origin(Origin::Configuration)
    }

    /// Our own fault; the cause is logged and never sent.
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "FM-INTERNAL", "something went wrong inside").caused_by(source)
    }

    /// The same failure for one more who waited for what failed. The cause stays with the first.
    #[must_use]
    pub(crate) fn again(&self) -> Self {
        let Inner {
            kind,
            origin,
            code,
            message,
            hint,
            operation,
            fields,
            transient,
            unsent,
            conclusive,
            retry_after,
            request_id,
            source: _,
        } = &*self.0;
        Self(Box::new(Inner {
            kind: *kind,
            origin: *origin,
            code: code.clone(),
            message: message.clone(),
            hint: hint.clone(),
            operation: *operation,
            fields: fields.clone(),
            transient: *transient,
            unsent: *unsent,
            conclusive: *conclusive,
            retry_after: *retry_after,
            request_id: request_id.clone(),
            source: None,
        }))
    }

    /// The failure that a platform's problem stands for.
    #[must_use]
    pub fn from_problem(problem: Problem) -> Self {
        let mut error = Self::new(
            Kind::of_status(problem.status),
            problem.code,
            if problem.detail.is_empty() { problem.title } else { problem.detail },
        );
        error.0.origin = Origin::Platform;
        error.0.transient |= problem.retryable;
        error.0.fields = problem.errors;
        error.0.request_id = problem.request_id;
        error
    }

    /// Says where the failure comes from; without it, from here.
    #[must_use]
    pub fn of_origin(mut self, origin: Origin) -> Self {
        self.0.origin = origin;
        self
    }

    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The operation that failed.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// A fault of one field.
    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>, code: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.fields.push(FieldError::new(pointer, code, detail));
        self
    }

    /// Faults of fields.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.0.fields.extend(fields);
        self
    }

    /// Names the faulty fields from further up: they lie below this pointer.
    #[must_use]
    #[cfg(feature = "platform")]
    pub(crate) fn below(mut self, pointer: &str) -> Self {
        for fault in &mut self.0.fields {
            fault.pointer.insert_str(0, pointer);
        }
        self
    }

    /// The same call may succeed after this time.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self.0.transient = true;
        self
    }

    /// Nothing of the call left this machine, so it did not happen.
    #[must_use]
    pub fn unsent(mut self) -> Self {
        self.0.unsent = true;
        self
    }

    /// It is not the whole call's failure: an attempt before it was sent.
    #[must_use]
    pub(crate) fn sent_before(mut self) -> Self {
        self.0.unsent = false;
        self
    }

    /// The client does not repeat the call by itself, whenever somebody else may.
    #[must_use]
    pub fn conclusive(mut self) -> Self {
        self.0.conclusive = true;
        self
    }

    /// The request in the platform's logs.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id.get_or_insert(id.into());
        self
    }

    /// The cause, for logs only.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Where the failure comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What was wrong, in one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next, if that was said.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The faults of fields.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// Whether it is certain that nothing of the call left this machine.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.0.unsent
    }

    /// Whether the client lets the call end with this failure, although it may succeed later.
    #[must_use]
    pub fn is_conclusive(&self) -> bool {
        self.0.conclusive
    }

    /// When to try again, if that is known.
    #[must_use]
    pub fn when_to_retry(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The request in the platform's logs, if known.
    #[must_use]
    pub fn request(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        for field in &self.0.fields {
            write!(f, "; {} {}", field.pointer.trim_start_matches('/'), field.detail)?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, ". {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waited_is_told_the_same_without_the_cause() {
        let first = Error::new(Kind::Unavailable, "X", "y").hint("z").retry_after(Duration::from_secs(3)).caused_by("a cause");
        let again = first.again();
        assert_eq!(
            (again.to_string(), again.when_to_retry(), again.is_transient()),
            (first.to_string(), Some(Duration::from_secs(3)), true)
        );
        assert!(std::error::Error::source(&again).is_none());
    }
}
