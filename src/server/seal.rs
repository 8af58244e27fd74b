//! `requestState` of a question: sealed over caller, tool and arguments, good for one answer within five minutes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::{RequestStateCodec, SealOptions};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// How many answered questions are remembered at most; each for as long as its seal is good.
const REMEMBERED: usize = 4096;

/// Seals questions and opens answers. Its key lives and dies with the process.
pub(super) struct Seal {
    codec: RequestStateCodec,
    good_for: Duration,
    spent: Mutex<HashMap<String, Instant>>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    /// Names the question, so that it can be answered once.
    nonce: String,
    /// What the object was like when the person was asked.
    seen: Option<String>,
}

impl Seal {
    pub(super) fn new(good_for: Duration) -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(Error::internal)?;
        let codec = RequestStateCodec::try_new(key).map_err(Error::internal)?;
        Ok(Self { codec, good_for, spent: Mutex::default() })
    }

    /// The state of a question about one call.
    pub(super) fn seal(&self, call: &str, seen: Option<String>) -> Result<String> {
        let payload = Payload { nonce: uuid::Uuid::now_v7().to_string(), seen };
        self.codec
            .seal_json_with(&payload, &SealOptions::new().associated_data(call.as_bytes()).ttl(self.good_for))
            .map_err(Error::internal)
    }

    /// Opens the state that came back with an answer, once; gives what the object was like.
    ///
    /// Forged, for another call, too late and used before are one error: it is nobody's business which.
    pub(super) fn open(&self, call: &str, state: &str) -> Result<Option<String>> {
        let payload: Payload = self.codec.open_json_with(state, call.as_bytes()).map_err(|error| no_question().caused_by(error))?;
        let now = Instant::now();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, until| *until > now);
        if spent.len() >= REMEMBERED || spent.insert(payload.nonce, now + self.good_for + Duration::from_secs(1)).is_some() {
            return Err(no_question());
        }
        Ok(payload.seen)
    }
}

fn no_question() -> Error {
    Error::new(
        Kind::Refused,
        "FM-MCP-CONFIRMATION",
        "the answer belongs to no open question: it came too late, was used before, or is for another call",
    )
    .hint("Call the tool again without requestState and inputResponses; the person is asked anew.")
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("good_for", &self.good_for).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_and_for_its_own_call() {
        let seal = Seal::new(Duration::from_mins(1)).unwrap();
        let state = seal.seal("call", Some("\"3\"".to_owned())).unwrap();
        assert_eq!(seal.open("other call", &state).unwrap_err().code(), "FM-MCP-CONFIRMATION");
        assert_eq!(seal.open("call", &state).unwrap().as_deref(), Some("\"3\""));
        assert_eq!(seal.open("call", &state).unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn a_forged_or_foreign_or_late_state_is_refused() {
        let seal = Seal::new(Duration::from_mins(1)).unwrap();
        let mut state = seal.seal("call", None).unwrap();
        let last = state.pop().unwrap();
        state.push(if last == 'A' { 'B' } else { 'A' });
        assert!(seal.open("call", &state).is_err());
        assert!(seal.open("call", "rs1.AAAA.AAAA").is_err());
        assert!(seal.open("call", &Seal::new(Duration::from_mins(1)).unwrap().seal("call", None).unwrap()).is_err());
        let hasty = Seal::new(Duration::ZERO).unwrap();
        let state = hasty.seal("call", None).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert!(hasty.open("call", &state).is_err());
    }
}
