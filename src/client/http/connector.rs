//! The HTTP client for the place where the platform is. It sends nothing to another process that took that address meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;

use crate::client::origin::{Located, Origin};
use crate::error::{Error, Result};
use crate::io::outbound;

/// How long a connection may take to come about, unless it is said.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nothing uses.
const IDLE: Duration = Duration::from_mins(1);
/// Places whose connections are kept.
const MAX_PLACES: usize = 256;

/// Makes a client when it is first needed: reading certificates takes time.
pub(crate) struct Connector {
    origin: Arc<dyn Origin>,
    connect: Duration,
    clients: Mutex<HashMap<Arc<str>, Client>>,
}

impl Connector {
    pub(crate) fn new(origin: Arc<dyn Origin>) -> Self {
        Self::within(origin, CONNECT)
    }

    /// A connector whose connections come about within a time.
    pub(crate) fn within(origin: Arc<dyn Origin>, connect: Duration) -> Self {
        Self { origin, connect, clients: Mutex::default() }
    }

    /// Where the platform is now.
    pub(crate) async fn locate(&self) -> Result<Located> {
        self.origin.locate().await
    }

    /// The client for a place. Connections to a place that was left are worth nothing any more.
    pub(crate) fn client(&self, located: &Located) -> Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&located.base) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_PLACES {
            clients.clear();
        }
        let builder = outbound::client(located.loopback).connect_timeout(self.connect).pool_idle_timeout(IDLE).tcp_nodelay(true);
        let (origin, base) = (Arc::clone(&self.origin), Arc::clone(&located.base));
        let still_there = move || {
            let (origin, base) = (Arc::clone(&origin), Arc::clone(&base));
            async move { origin.is_at(&base).await }
        };
        let client = outbound::only_while(builder, still_there).build().map_err(Error::internal)?;
        clients.insert(Arc::clone(&located.base), client.clone());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::future::BoxFuture;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A platform that ends between being located and being connected to.
    struct Ending {
        base: Arc<str>,
        is_there: AtomicBool,
    }

    impl Origin for Ending {
        fn locate(&self) -> BoxFuture<'_, Result<Located>> {
            Box::pin(std::future::ready(Ok(Located { base: Arc::clone(&self.base), owner_token: None, loopback: true })))
        }

        fn is_at<'a>(&'a self, base: &'a str) -> BoxFuture<'a, bool> {
            assert_eq!(base, &*self.base);
            Box::pin(std::future::ready(self.is_there.load(Ordering::SeqCst)))
        }
    }

    #[tokio::test]
    async fn whoever_took_the_address_of_a_platform_hears_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).into();
        let origin = Arc::new(Ending { base, is_there: AtomicBool::new(false) });
        let reach = Connector::new(Arc::clone(&origin) as Arc<dyn Origin>);
        for is_there in [false, true] {
            origin.is_there.store(is_there, Ordering::SeqCst);
            let located = reach.locate().await.unwrap();
            let sending = reach.client(&located).unwrap().get(&*located.base).bearer_auth("secret").send();
            let hearing = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut heard = [0; 1024];
                let length = stream.read(&mut heard).await.unwrap();
                String::from_utf8_lossy(&heard[..length]).into_owned()
            };
            let (sent, heard) = tokio::join!(sending, hearing);
            assert_eq!((sent.unwrap_err().is_connect(), heard.contains("Bearer secret")), (!is_there, is_there), "{heard}");
            assert_eq!(heard.is_empty(), !is_there);
        }
    }
}
