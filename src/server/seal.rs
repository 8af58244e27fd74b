//! `requestState` of a question: sealed over caller, tool and arguments, good for one answer within five minutes.
//!
//! The key lives in the data folder, so that a restart, or another process on the same folder, knows the question that
//! the person is looking at. Without a folder it lives and dies with the process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rmcp::model::{RequestStateCodec, SealOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::digest;
use super::spent::{Spent, unusable};
use crate::api::Timestamp;
use crate::auth::Caller;
use crate::error::{Error, Kind, Result};
use crate::io::private_files;

/// A question is good for no longer, however long the person may take.
const LONGEST: Duration = Duration::from_mins(5);
/// Longest state that is looked at, in bytes; what is sealed here is much shorter.
const LONGEST_STATE: usize = 4096;

/// Seals questions and opens answers.
pub(super) struct Seal {
    key: Option<PathBuf>,
    codec: OnceCell<RequestStateCodec>,
    good_for: Duration,
    spent: Spent,
}

/// What is sealed beside what the call is.
#[derive(Serialize, Deserialize)]
struct Payload {
    /// Names the question, so that it can be answered once.
    nonce: String,
    /// When it ends, in milliseconds.
    until: i64,
    /// What the object was like when the person was asked.
    seen: Option<String>,
    /// The version that the call must still meet.
    if_match: Option<String>,
}

/// A question that was asked about this very call; it still has to be used up.
pub(super) struct Opened {
    nonce: uuid::Uuid,
    until: Timestamp,
    /// What the object was like.
    pub(super) seen: Option<String>,
    /// The version that the call must still meet.
    pub(super) if_match: Option<String>,
}

impl Seal {
    /// Nothing is read or made before the first question.
    pub(super) fn new(good_for: Duration, data_dir: Option<&Path>) -> Self {
        Self {
            key: data_dir.map(|data_dir| data_dir.join("seal.key")),
            codec: OnceCell::new(),
            good_for: good_for.min(LONGEST),
            spent: Spent::new(data_dir),
        }
    }

    /// How long a person may take, at most five minutes.
    pub(super) const fn good_for(&self) -> Duration {
        self.good_for
    }

    async fn codec(&self) -> Result<&RequestStateCodec> {
        let made = async {
            let mut key = [0; 32];
            if let Some(path) = self.key.clone() {
                let read = move || private_files::key(&path).map_err(|error| unusable(&path, &error));
                key = tokio::task::spawn_blocking(read).await.map_err(Error::internal)??;
            } else {
                getrandom::fill(&mut key).map_err(Error::internal)?;
            }
            RequestStateCodec::try_new(key).map_err(Error::internal)
        };
        self.codec.get_or_try_init(|| made).await
    }

    /// The state of a question about one call.
    pub(super) async fn seal(&self, call: &str, seen: Option<String>, if_match: Option<String>) -> Result<String> {
        let until = Timestamp::now().plus_seconds(self.good_for.as_secs_f64()).millis();
        let payload = Payload { nonce: uuid::Uuid::now_v7().simple().to_string(), until, seen, if_match };
        let options = SealOptions::new().associated_data(call.as_bytes()).ttl(self.good_for);
        self.codec().await?.seal_json_with(&payload, &options).map_err(Error::internal)
    }

    /// Opens the state that came back with an answer.
    ///
    /// Forged, for another call, too late and used before are one error: it is nobody's business which.
    pub(super) async fn open(&self, call: &str, state: &str) -> Result<Opened> {
        if state.len() > LONGEST_STATE {
            return Err(no_question());
        }
        let payload: Payload =
            self.codec().await?.open_json_with(state, call.as_bytes()).map_err(|error| no_question().caused_by(error))?;
        let nonce = uuid::Uuid::try_parse(&payload.nonce).map_err(|error| no_question().caused_by(error))?;
        Ok(Opened { nonce, until: Timestamp::from_millis(payload.until), seen: payload.seen, if_match: payload.if_match })
    }

    /// Uses an answer of a caller up. Of several who come with the same one, one gets through.
    pub(super) async fn spend(&self, caller: &Caller, opened: &Opened) -> Result<()> {
        // The state's own end is measured more finely than its name in the folder.
        let kept = opened.until.plus_seconds(1.0);
        if self.spent.spend(&digest::of_caller(caller), opened.nonce, kept).await? { Ok(()) } else { Err(no_question()) }
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
    use crate::auth::Credential;

    const MINUTE: Duration = Duration::from_mins(1);

    async fn used(seal: &Seal, call: &str, state: &str) -> Result<Option<String>> {
        let opened = seal.open(call, state).await?;
        seal.spend(&Caller::owner(Credential::Verified), &opened).await?;
        Ok(opened.seen)
    }

    #[tokio::test]
    async fn an_answer_counts_once_and_for_its_own_call() {
        let seal = Seal::new(MINUTE, None);
        let state = seal.seal("call", Some("\"3\"".to_owned()), None).await.unwrap();
        assert_eq!(used(&seal, "other call", &state).await.unwrap_err().code(), "FM-MCP-CONFIRMATION");
        assert_eq!(used(&seal, "call", &state).await.unwrap().as_deref(), Some("\"3\""));
        assert_eq!(used(&seal, "call", &state).await.unwrap_err().kind(), Kind::Refused);
    }

    #[tokio::test]
    async fn processes_on_one_folder_know_each_others_questions_and_answers() {
        let data = tempfile::tempdir().unwrap();
        let (one, other) = (Seal::new(MINUTE, Some(data.path())), Seal::new(MINUTE, Some(data.path())));
        let state = one.seal("call", None, Some("\"1\"".to_owned())).await.unwrap();
        assert_eq!(other.open("call", &state).await.unwrap().if_match.as_deref(), Some("\"1\""));
        used(&other, "call", &state).await.unwrap();
        assert_eq!(used(&one, "call", &state).await.unwrap_err().code(), "FM-MCP-CONFIRMATION");
        assert!(used(&Seal::new(MINUTE, Some(data.path())), "call", &state).await.is_err(), "a restart forgot it");
    }

    #[tokio::test]
    async fn a_forged_or_foreign_or_late_state_is_refused() {
        let seal = Seal::new(MINUTE, None);
        let mut state = seal.seal("call", None, None).await.unwrap();
        let last = state.pop().unwrap();
        state.push(if last == 'A' { 'B' } else { 'A' });
        let foreign = Seal::new(MINUTE, None).seal("call", None, None).await.unwrap();
        for state in [state.as_str(), "rs1.AAAA.AAAA", "", &"x".repeat(100_000), &foreign] {
            assert_eq!(used(&seal, "call", state).await.unwrap_err().code(), "FM-MCP-CONFIRMATION");
        }
        let hasty = Seal::new(Duration::ZERO, None);
        let state = hasty.seal("call", None, None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(hasty.open("call", &state).await.is_err());
        assert_eq!(Seal::new(Duration::from_hours(1), None).good_for, LONGEST);
    }
}
