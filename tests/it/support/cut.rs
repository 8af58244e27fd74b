//! A way to a platform that can be cut: what passes is forwarded byte by byte until the test cuts it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Clone)]
pub struct Way {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    open: Arc<Mutex<CancellationToken>>,
}

impl Way {
    /// A way to an address.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Self { address: listener.local_addr().unwrap(), target: Arc::new(Mutex::new(target)), open: Arc::default() };
        let serving = way.clone();
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let (target, open) = (*serving.target.lock().unwrap(), serving.open.lock().unwrap().clone());
                tokio::spawn(async move {
                    let Ok(mut there) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        () = open.cancelled() => {}
                        _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                    }
                });
            }
        });
        way
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection there is.
    pub fn cut(&self) {
        std::mem::take(&mut *self.open.lock().unwrap()).cancel();
    }

    /// Leads to another address from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
        self.cut();
    }
}
