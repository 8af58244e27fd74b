//! A scripted end of the stack, for the tests of layers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};

use crate::api::{catalogue, wire};
use crate::auth::{Caller, CallerKind, Credential};
use crate::client::call::{Call, CallOptions, Reply};
use crate::client::layer::{Layer, Next, Transport};
use crate::error::{Error, Kind, Origin, Result};

/// Answers calls from a script, and keeps what arrived.
#[derive(Default)]
pub(super) struct Scripted {
    answers: Mutex<VecDeque<Error>>,
    delay: Duration,
    arrived: Mutex<Vec<Call>>,
}

impl Scripted {
    /// Refuses as often as there are errors, then answers.
    pub(super) fn failing(errors: impl IntoIterator<Item = Error>) -> Self {
        Self { answers: Mutex::new(errors.into_iter().collect()), ..Self::default() }
    }

    /// Takes its time for every answer.
    pub(super) fn slow(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Runs a call through one layer.
    pub(super) async fn run(&self, layer: impl Layer + 'static, call: Call) -> Result<Reply> {
        self.run_through(&[Arc::new(layer)], call).await
    }

    /// Runs a call through layers that live on.
    pub(super) async fn run_through(&self, layers: &[Arc<dyn Layer>], call: Call) -> Result<Reply> {
        Next::new(layers, self).run(call).await
    }

    /// The calls that came through.
    pub(super) fn arrived(&self) -> Vec<Call> {
        self.arrived.lock().unwrap().clone()
    }
}

impl Transport for Scripted {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(async move {
            self.arrived.lock().unwrap().push(call);
            tokio::time::sleep(self.delay).await;
            match self.answers.lock().unwrap().pop_front() {
                Some(error) => Err(error),
                None => Ok(Reply { status: 200, etag: None, body: json!({}) }),
            }
        })
    }
}

/// A user with a token.
pub(in crate::client) fn user(subject: &str, permissions: &[&str]) -> Arc<Caller> {
    let permissions = permissions.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    Arc::new(Caller {
        tenant: "tenant-1".into(),
        subject: subject.to_owned(),
        roles: Vec::new(),
        permissions: Some(permissions.into()),
        kind: CallerKind::User,
        expires: None,
        credential: Credential::Bearer(format!("token-of-{subject}").into()),
    })
}

/// A call of an operation.
pub(in crate::client) fn call(caller: &Arc<Caller>, operation: &str, arguments: &Value, options: CallOptions) -> Call {
    let entry = catalogue().get(operation).unwrap();
    let arguments: Map<String, Value> = arguments.as_object().unwrap().clone();
    Call::new(entry, Arc::clone(caller), wire::encode(&entry.spec, &caller.tenant, arguments).unwrap(), options).unwrap()
}

/// A call that lists tasks.
pub(super) fn list(caller: &Arc<Caller>) -> Call {
    call(caller, "tasks_list", &json!({}), CallOptions::default())
}

/// The platform's answer to a token that it does not take.
pub(super) fn unauthenticated() -> Error {
    Error::new(Kind::Unauthenticated, "FM-AAS-UNAUTHENTICATED", "no").of_origin(Origin::Platform)
}
