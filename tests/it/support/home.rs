//! What a user has at home: the program's data folder with its logins, and a platform elsewhere whose clock can be moved.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowmaster_mcp::client::credentials::login::{Login, Source, Store};
use flowmaster_mcp::client::{Call, Client, Fixed, Layer, Next, Reply};
use flowmaster_mcp::error::Result;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::platform::{PASSWORD, TestPlatform};
use super::program::{Host, Revision, binary};

pub const ADA: &str = "ada@acme.example";

/// What a user has at home: the program's data folder, and a platform elsewhere.
pub struct Home {
    pub platform: TestPlatform,
    folder: tempfile::TempDir,
}

impl Home {
    pub async fn new() -> Self {
        let platform = TestPlatform::start().await;
        platform.user("acme", ADA, &["clerk"], &["task:view"]).await;
        Self { platform, folder: tempfile::tempdir().unwrap() }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn url(&self) -> String {
        self.platform.running.url()
    }

    pub async fn run(&self, arguments: &[&str], settings: &[(&str, &str)], stdin: &str) -> Output {
        let url = self.url();
        run(&self.data(), arguments, &[&[("FLOWMASTER_URL", url.as_str())], settings].concat(), stdin).await
    }

    /// Signs in as a person does who pipes the password in.
    pub async fn login(&self) -> Output {
        self.login_as("acme", ADA).await
    }

    /// Signs in as somebody, in place of whoever was signed in.
    pub async fn login_as(&self, tenant: &str, user: &str) -> Output {
        let output = self.run(&["login", "--user", user, "--tenant", tenant, "--password-stdin"], &[], &format!("{PASSWORD}\n")).await;
        assert!(output.status.success(), "{}", stderr(&output));
        output
    }

    pub async fn host(&self, settings: &[(&str, &str)]) -> Host {
        self.host_of(Revision::V2026_07_28, settings).await
    }

    pub async fn host_of(&self, revision: Revision, settings: &[(&str, &str)]) -> Host {
        let url = self.url();
        Host::start_with(&self.data(), revision, Some("accept"), &[&[("FLOWMASTER_URL", url.as_str())], settings].concat()).await
    }

    pub fn store(&self) -> Store {
        Store::of_platform(&self.data(), Some(&self.url()))
    }

    /// The login's file as JSON.
    pub fn kept(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.store().file()).unwrap()).unwrap()
    }

    /// Lets the access tokens end that were given so far.
    pub fn pass_two_hours(&self) {
        self.platform.clock.advance(7200.0);
    }

    /// A pair of tokens, as somebody gets it who signs in by hand.
    pub async fn pair(&self) -> (String, String) {
        let login = json!({ "username": ADA, "password": PASSWORD, "tenantId": "acme" });
        let given = self.platform.post("/auth/login", "", login).await.ok();
        (given["accessToken"].as_str().unwrap().to_owned(), given["refreshToken"].as_str().unwrap().to_owned())
    }
}

pub async fn run(data: &Path, arguments: &[&str], settings: &[(&str, &str)], stdin: &str) -> Output {
    let mut command = binary(data);
    command.args(arguments).envs(settings.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // A program that does not read what it was not asked for may be gone already.
    let _gone = input.write_all(stdin.as_bytes()).await;
    drop(input);
    child.wait_with_output().await.unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Counts what a login asks the platform for.
struct Counted(Arc<AtomicUsize>);

impl Layer for Counted {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        next.run(call)
    }
}

/// A login in this process, with the number of times that it asked the platform for tokens.
pub fn login_of(home: &Home, source: Source) -> (Login, Client, Arc<AtomicUsize>) {
    login_at(&home.url(), source)
}

/// A login at a platform by its URL.
pub fn login_at(url: &str, source: Source) -> (Login, Client, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let origin = || Arc::new(Fixed::new(url).unwrap());
    let own = Client::builder(origin()).layer(Counted(Arc::clone(&asked))).build();
    let login = Login::new(own, source, None, "the platform".to_owned(), "run `flowmaster-mcp login`".to_owned());
    let client = Client::builder(origin()).renewing(Arc::new(login.clone())).build();
    (login, client, asked)
}
