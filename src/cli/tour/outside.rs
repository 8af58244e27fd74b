//! A system outside of the platform, on this machine: it takes orders and messages, and numbers them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::{Json, Router, routing::post};
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::failed;
use crate::error::Result;

/// It ends with the tour.
pub(super) struct Outside {
    pub(super) url: String,
    /// How many orders it took.
    orders: Arc<AtomicU32>,
    serving: JoinHandle<()>,
}

impl Outside {
    pub(super) async fn open() -> Result<Self> {
        let failed = |error| failed("no system of the tour's own can listen on this machine").caused_by(error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let orders = Arc::<AtomicU32>::default();
        let counted = Arc::clone(&orders);
        let order = move || {
            let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
            std::future::ready((StatusCode::CREATED, Json(json!({ "orderId": format!("order-{number}"), "status": "booked" }))))
        };
        let message = || std::future::ready((StatusCode::CREATED, Json(json!({ "id": "message-1" }))));
        let router = Router::new().route("/orders", post(order)).fallback(message);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the tour's own system ended");
            }
        });
        Ok(Self { url, orders, serving })
    }

    /// How many orders it took.
    pub(super) fn orders(&self) -> u32 {
        self.orders.load(Ordering::Relaxed)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
