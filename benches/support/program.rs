//! The programs that are measured, each a process of its own, and what they take of the processor and of memory.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Failure;

/// What the kernel counts a process' time in, for every program alike.
const TICK: Duration = Duration::from_millis(10);
/// No limit of calls stands before what is measured.
const CONFIG: &str = "[limits.caller]\nread = 1000000000\n[limits.tenant]\nread = 1000000000\n";

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

    /// This bench in one of its other parts.
    pub fn part(arguments: &[&str]) -> Result<Self, Failure> {
        Self::start(Command::new(std::env::current_exe()?).args(arguments).stdout(Stdio::piped()))
    }

    /// The server over HTTP before a platform, in a folder of its own.
    pub fn server(home: &Path, platform: &str, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let mut command = released(home)?;
        command.env("FLOWMASTER_URL", platform).env("FLOWMASTER_AUTH_MODE", "first-party").env("FLOWMASTER_VALIDATE_INTERVAL", "0");
        command.env("FLOWMASTER_METRICS_LISTEN", "127.0.0.1:0").envs(settings.iter().copied());
        Self::start(command.args(["serve", "--http", "127.0.0.1:0"]).stderr(Stdio::piped()))
    }

    /// The server over HTTP with the embedded platform in it.
    pub fn embedding(home: &Path, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let mut command = released(home)?;
        command.envs(settings.iter().copied());
        Self::start(command.args(["serve", "--http", "127.0.0.1:0"]).stderr(Stdio::piped()))
    }

    /// Starts a program that says its address on its piped output.
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.env("TOKIO_WORKER_THREADS", "1").stdin(Stdio::null()).spawn()?;
        let output: Box<dyn Read + Send> = match (child.stdout.take(), child.stderr.take()) {
            (Some(output), _) => Box::new(output),
            (None, Some(output)) => Box::new(output),
            (None, None) => return Err("a program without output".into()),
        };
        let mut program = Self { child: Some(child), url: String::new() };
        let mut lines = BufReader::new(output).lines();
        let mut said = String::new();
        while program.url.is_empty() {
            let line = lines.next().ok_or_else(|| format!("a program ended: {said}"))??;
            // Lines of the log may name other addresses.
            if let Some((before, url)) = line.split_once("http://")
                && (before.is_empty() || before.contains("serves "))
            {
                program.url = format!("http://{}", url.split('/').next().unwrap_or_default());
            }
            said.push_str(&line);
        }
        // What it says later is how to add it to a host, or a failure, which goes on.
        let failures = |line: &String| !line.starts_with("  claude mcp add");
        std::thread::spawn(move || lines.map_while(Result::ok).filter(failures).for_each(|line| eprintln!("{line}")));
        Ok(program)
    }

    /// What it took of the processor so far.
    pub fn processor_time(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process()))?;
        // Its name may hold anything, so the fields are counted from behind it.
        let (_, fields) = stat.rsplit_once(')').ok_or("no fields of a process")?;
        let ticks: Vec<u32> = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(TICK * ticks.iter().sum())
    }

    /// Its memory now.
    pub fn memory(&self) -> Result<Memory, Failure> {
        memory_of(&self.process())
    }

    /// Its id.
    pub fn process(&self) -> String {
        self.child.as_ref().map_or("self".to_owned(), |child| child.id().to_string())
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

/// Resident memory of a process, in megabytes of 1,000,000 bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    pub now: f64,
    pub most: f64,
    /// What is of its own; the rest is of the program's file, which the system may drop.
    pub own: f64,
}

/// The memory of a process by its id.
pub fn memory_of(process: &str) -> Result<Memory, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Result<f64, Failure> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("a process without memory")?;
        let kibibytes: u32 = line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse()?;
        Ok(f64::from(kibibytes) * 1024.0 / 1e6)
    };
    Ok(Memory { now: field("VmRSS")?, most: field("VmHWM")?, own: field("RssAnon")? })
}

/// The program as it is released, in a folder of its own and with no setting of the one who measures. `BENCH_PROGRAM` names
/// another build of it, such as that of the profile `dist`.
pub fn released(home: &Path) -> Result<Command, Failure> {
    std::fs::create_dir_all(home)?;
    let file = home.join("config.toml");
    std::fs::write(&file, CONFIG)?;
    let program = std::env::var_os("BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_flowmaster-mcp").into());
    let mut command = Command::new(program);
    // The data folder is the program's to make, for its owner alone.
    command.env_clear().env("HOME", home).env("FLOWMASTER_DATA_DIR", home.join("data"));
    command.env("FLOWMASTER_CONFIG", &file).env("FLOWMASTER_LOG", "warn");
    Ok(command)
}

/// The token of the owner of the embedded platform in a folder.
pub fn owner_token(home: &Path) -> Result<String, Failure> {
    let said = released(home)?.arg("token").output()?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into());
    }
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}
