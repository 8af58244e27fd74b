//! A PostgreSQL server of a test's own: on loopback, in a temporary folder, gone with the test.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The password of the server's one user, `tester`.
pub const PASSWORD: &str = "a-database-password-of-the-tests";

/// A running server.
pub struct Postgres {
    pub port: u16,
    programs: PathBuf,
    folder: TempDir,
}

impl Postgres {
    /// Starts a server; nothing, and a line that says so, where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Starts a server whose log has the changes of rows.
    pub fn start_with_log() -> Option<Self> {
        Self::start_with(" -c wal_level=logical")
    }

    fn start_with(settings: &str) -> Option<Self> {
        let Some(programs) = installed() else {
            eprintln!("skipped: PostgreSQL is not installed in /usr/lib/postgresql");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // The server does not run as root: the account of the package does then.
        if let Some((uid, gid)) = account(folder.path()) {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { port, programs, folder };
        let word = server.folder.path().join("password");
        fs::write(&word, PASSWORD).unwrap();
        server.run("initdb", &["-U", "tester", "-A", "scram-sha-256", "--pwfile", word.to_str().unwrap(), "--no-sync", "-D", "data"]);
        let options = format!("-h 127.0.0.1 -p {port} -k {} -c fsync=off{settings}", server.folder.path().display());
        server.run("pg_ctl", &["start", "-w", "-D", "data", "-l", "log", "-o", &options]);
        Some(server)
    }

    /// Runs statements.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        let port = self.port.to_string();
        let arguments =
            ["-h", "127.0.0.1", "-p", &port, "-U", "tester", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt", "-c", statements];
        let output = Command::new(self.programs.join("psql")).args(arguments).env("PGPASSWORD", PASSWORD).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Stops the server; its data stays.
    pub fn stop(&self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate", "-D", "data"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = self.command(program, arguments).status().unwrap();
        assert!(status.success(), "{program} failed: {}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.folder.path());
        // The server keeps what it inherits: a pipe of the test's would stay open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = account(self.folder.path()) {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl", &["stop", "-m", "immediate", "-D", "data"]).status();
    }
}

/// The programs of the newest version that is installed.
fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|programs| programs.join("initdb").exists()).max_by_key(|programs| version_of(programs))
}

fn version_of(programs: &Path) -> u32 {
    programs.parent().and_then(|version| version.file_name()?.to_str()?.parse().ok()).unwrap_or_default()
}

/// User and group of the package's account, where the tests run as root.
fn account(folder: &Path) -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").ok()?.uid() == 0;
    let users = fs::read_to_string("/etc/passwd").ok().filter(|_| is_root && folder.exists())?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
