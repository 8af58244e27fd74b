//! Errors of MCP Events by their numbers, of which hosts know two tables.

use rmcp::ErrorData;
use rmcp::model::ErrorCode;
use serde_json::{Map, Value, json};

use crate::error::{Error, Kind};

/// Which numbers the errors of MCP Events have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorNumbers {
    /// -32011 to -32015, as the draft had them and ChatGPT reads them.
    #[default]
    Draft,
    /// -32023 to -32027, as SEP-3415 renumbered them.
    Final,
}

/// What is against a request of MCP Events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NotFound,
    Forbidden,
    ResourceExhausted,
    Unsupported,
    CallbackEndpoint,
}

impl ErrorNumbers {
    pub(super) const fn of(self, reason: Reason) -> i32 {
        let first = match self {
            Self::Draft => -32_011,
            Self::Final => -32_023,
        };
        first
            - match reason {
                Reason::NotFound => 0,
                Reason::Forbidden => 1,
                Reason::ResourceExhausted => 2,
                Reason::Unsupported => 3,
                Reason::CallbackEndpoint => 4,
            }
    }

    /// An error with its number, our stable code and what the protocol says of it.
    pub(super) fn refuse(self, reason: Reason, code: &str, message: impl Into<String>, data: Value) -> ErrorData {
        let mut fields = Map::from_iter([("code".to_owned(), json!(code))]);
        if let Value::Object(data) = data {
            fields.extend(data);
        }
        ErrorData::new(ErrorCode(self.of(reason)), message.into(), Some(Value::Object(fields)))
    }

    /// One of our errors as MCP Events tells it.
    pub(super) fn of_error(self, error: &Error) -> ErrorData {
        let data = json!({ "code": error.code() });
        match error.kind() {
            Kind::Forbidden | Kind::Unauthenticated => self.refuse(Reason::Forbidden, error.code(), error.to_string(), data),
            Kind::RateLimited => self.refuse(Reason::ResourceExhausted, error.code(), error.to_string(), json!({ "limit": "calls" })),
            Kind::Unsupported => self.refuse(Reason::Unsupported, error.code(), error.to_string(), data),
            Kind::Invalid | Kind::Malformed => ErrorData::invalid_params(error.to_string(), Some(data)),
            _ => ErrorData::internal_error(error.to_string(), Some(data)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_two_tables() {
        use Reason::{CallbackEndpoint, Forbidden, NotFound, ResourceExhausted, Unsupported};
        let all = [NotFound, Forbidden, ResourceExhausted, Unsupported, CallbackEndpoint];
        assert_eq!(all.map(|reason| ErrorNumbers::Draft.of(reason)), [-32011, -32012, -32013, -32014, -32015]);
        assert_eq!(all.map(|reason| ErrorNumbers::Final.of(reason)), [-32023, -32024, -32025, -32026, -32027]);
    }
}
