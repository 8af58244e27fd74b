//! A platform of fixed answers: a task, a page of tasks, and the keys that tokens are signed with.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{Failure, REMEMBERED};

pub async fn serve(delay: Duration, keys: String) -> Result<(), Failure> {
    let (before, after) = split(&task("task-0"))?;
    let listed =
        |number| json!({ "taskId": format!("task-listed-{number}"), "status": "created", "createdAt": "2026-03-01T08:30:00.000Z" });
    let page: Vec<Value> = (0..REMEMBERED).map(listed).collect();
    let page = json!({ "items": page }).to_string();
    let one = move |Path(id): Path<String>| {
        let body = format!("{before}{id}{after}");
        async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            ([(CONTENT_TYPE, "application/json")], body)
        }
    };
    let routes = Router::new()
        .route("/tasks/{id}", get(one))
        .route("/tasks", get(async move || ([(CONTENT_TYPE, "application/json")], page)))
        .route("/.well-known/jwks.json", get(async move || ([(CONTENT_TYPE, "application/json")], keys)));
    listen(routes).await
}

/// Serves routes at any address, and says which.
pub async fn listen(routes: Router) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), routes).await?)
}

/// A task as an inbox has many of.
fn task(id: &str) -> Value {
    json!({
        "taskId": id, "status": "created", "title": "Approve the invoice of Acme GmbH", "createdAt": "2026-03-01T08:30:00.000Z",
        "description": "The invoice is above the limit of the department, so that the head of finance has to agree to it.",
        "assignedTo": "user-018f7d5e-0000-7000-8000-000000000000", "candidates": ["finance", "management"], "executionId": "exec-1",
        "nodeId": "approve", "slaDeadline": "2026-03-03T08:30:00.000Z", "slaStatus": "ok", "escalationChain": ["head-of-finance"],
        "escalationLevel": 0, "response": null,
        "form": { "fields": [{ "name": "decision", "type": "enum", "options": ["approve", "reject", "revise"], "required": true }] },
    })
}

/// The text before and after the id.
fn split(task: &Value) -> Result<(String, String), Failure> {
    let text = task.to_string();
    let (before, after) = text.split_once("task-0").ok_or("a task without its id")?;
    Ok((before.to_owned(), after.to_owned()))
}
