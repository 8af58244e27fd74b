//! The real program over HTTP, and all that it logs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use super::program::program;

/// The program over HTTP, until it is dropped.
pub struct ServedProgram {
    pub child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl ServedProgram {
    /// Starts it on any port, with further arguments.
    pub fn start(home: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut command = program(home);
        command.envs(settings.iter().copied()).args(["serve", "--http", "0"]).args(arguments).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let (log, mut line) = (Arc::new(Mutex::new(String::new())), String::new());
        while !line.contains("flowmaster-mcp serves") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended: {}", log.lock().unwrap());
            log.lock().unwrap().push_str(&line);
        }
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        let rest = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = lines.read(&mut chunk) {
                rest.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length]));
            }
        });
        Self { child, address, log }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends it SIGHUP, as an operator does who changed its configuration.
    #[cfg(unix)]
    pub fn hang_up(&self) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    }
}

impl Drop for ServedProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
