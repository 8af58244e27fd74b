//! The programs that are measured, each a process of its own, and the processor's time that they took.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use crate::Failure;
use crate::tokens::Issuer;

/// What the kernel counts a process' time in, for every program alike.
const TICK: Duration = Duration::from_millis(10);

/// A process and its address. It ends with this.
pub struct Program {
    child: Option<Child>,
    pub url: String,
}

impl Program {
    /// This process itself.
    pub const fn own() -> Self {
        Self { child: None, url: String::new() }
    }

    pub fn platform(delay: Duration, issuer: &Issuer) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::start(command.args(["platform", &delay.as_millis().to_string(), &issuer.keys()]).stdout(Stdio::piped()))
    }

    pub fn bare(platform: &str) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::start(command.args(["bare", platform]).stdout(Stdio::piped()))
    }

    /// This server before a platform, in a folder of its own.
    pub fn server(home: &Path, platform: &str, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        std::fs::create_dir_all(home)?;
        let file = home.join("config.toml");
        std::fs::write(&file, "[limits.caller]\nread = 1000000000\n[limits.tenant]\nread = 1000000000\n")?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowmaster-mcp"));
        command.env_clear().env("HOME", home).env("FLOWMASTER_DATA_DIR", home).env("FLOWMASTER_CONFIG", &file);
        command.env("FLOWMASTER_URL", platform).env("FLOWMASTER_AUTH_MODE", "first-party").env("FLOWMASTER_VALIDATE_INTERVAL", "0");
        command.env("FLOWMASTER_METRICS_LISTEN", "127.0.0.1:0").env("FLOWMASTER_LOG", "warn").envs(settings.iter().copied());
        Self::start(command.args(["serve", "--http", "127.0.0.1:0"]).stderr(Stdio::piped()))
    }

    fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.env("TOKIO_WORKER_THREADS", "1").stdin(Stdio::null()).spawn()?;
        let output: Box<dyn Read + Send> = match (child.stdout.take(), child.stderr.take()) {
            (Some(output), _) => Box::new(output),
            (None, Some(output)) => Box::new(output),
            (None, None) => return Err("a program without output".into()),
        };
        let mut program = Self { child: Some(child), url: String::new() };
        let mut lines = BufReader::new(output).lines();
        let mut said = String::new();
        // The page of figures has an address, too.
        while program.url.is_empty() {
            let line = lines.next().ok_or_else(|| format!("a program ended: {said}"))??;
            if let Some((_, url)) = line.split_once("serves ").and_then(|(_, url)| url.split_once("http://")) {
                program.url = format!("http://{}", url.split('/').next().unwrap_or_default());
            }
            said.push_str(&line);
        }
        // What it says later is a failure, and goes on.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Ok(program)
    }

    /// What it took of the processor so far.
    pub fn processor_time(&self) -> Result<Duration, Failure> {
        let process = self.child.as_ref().map_or("self".to_owned(), |child| child.id().to_string());
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // Its name may hold anything, so the fields are counted from behind it.
        let (_, fields) = stat.rsplit_once(')').ok_or("no fields of a process")?;
        let ticks: Vec<u32> = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(TICK * ticks.iter().sum())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _killed = child.kill();
            let _waited = child.wait();
        }
    }
}

/// Serves routes at any address, and says which.
pub async fn listen(routes: Router) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("serves http://{}", listener.local_addr()?);
    Ok(axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), routes).await?)
}
