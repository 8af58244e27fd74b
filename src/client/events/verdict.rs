//! What a stream does after a failure.

use crate::api::realtime::close;
use crate::error::{Error, Kind};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try again, by and by.
    Again,
    /// The channel is no more: subscribe again, and replay what was missed.
    Resubscribe,
    /// The channel shows what cannot be read: go on from now, and replay what was missed.
    Overleap,
    /// There is no gateway for this caller: replay.
    Replay,
    /// The token is not accepted.
    Renew,
}

/// Decides over a failure of subscribing, connecting or listening.
pub(super) fn of(error: &Error) -> Verdict {
    match error.kind() {
        Kind::Unauthenticated => Verdict::Renew,
        Kind::TooLarge if error.code() == TOO_LARGE => Verdict::Overleap,
        Kind::NotFound if error.code() == NOT_FOUND => Verdict::Resubscribe,
        Kind::Invalid if error.code() == BEYOND => Verdict::Resubscribe,
        Kind::Forbidden
        | Kind::NotFound
        | Kind::Unsupported
        | Kind::Invalid
        | Kind::Malformed
        | Kind::Conflict
        | Kind::Refused
        | Kind::BadAnswer
        | Kind::MediaType => Verdict::Replay,
        _ => Verdict::Again,
    }
}

/// The platform's code for a channel that it does not have.
const NOT_FOUND: &str = "FM-WGS-NOT-FOUND";
/// The platform's code for a place that its log has not come to: it is another log.
const BEYOND: &str = "FM-WGS-SEQ";

/// The code of a frame that is not read.
const TOO_LARGE: &str = "FM-MCP-FRAME-TOO-LARGE";

/// The failure that a close code stands for.
pub(super) fn of_close(code: u16, reason: &str) -> Error {
    match code {
        close::UNAUTHENTICATED => Error::new(Kind::Unauthenticated, "FM-MCP-STREAM-ENDED", "the event stream ended with the token"),
        close::FORBIDDEN => Error::new(Kind::Forbidden, "FM-MCP-STREAM-ENDED", "the event stream ended with the permission"),
        close::GONE => Error::new(Kind::NotFound, NOT_FOUND, "the subscription of the event stream was ended"),
        _ => broken(format!("the platform closed the event stream ({code}) {reason}").trim_end()),
    }
}

/// The failure of a stream that can be tried again.
pub(super) fn broken(message: &str) -> Error {
    Error::new(Kind::Unavailable, "FM-MCP-STREAM-BROKEN", message)
}

/// The failure of a stream that shows a frame beyond the bound, and would show it again.
pub(super) fn too_large() -> Error {
    Error::new(Kind::TooLarge, TOO_LARGE, "the event stream shows a frame that is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_code_decides_what_follows() {
        let verdict = |code| of(&of_close(code, ""));
        assert_eq!(verdict(close::UNAUTHENTICATED), Verdict::Renew);
        assert_eq!(verdict(close::FORBIDDEN), Verdict::Replay);
        assert_eq!(verdict(close::GONE), Verdict::Resubscribe);
        for code in [1000, 1001, 1006, 1011, close::IDLE, close::TOO_SLOW] {
            assert_eq!(verdict(code), Verdict::Again, "{code}");
        }
    }
}
