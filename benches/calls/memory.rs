//! What the server takes of memory.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::load::{Load, What};
use crate::program::{Program, memory_of, released};
use crate::{Bench, Failure};

const CONNECTIONS: usize = 64;
const CALLS: usize = 20_000;
const TENANTS: usize = 20_000;
/// How long memory is given to become what it stays.
const REST: Duration = Duration::from_secs(2);

pub async fn measure(bench: &mut Bench<'_>, load: &Load) -> Result<(), Failure> {
    println!("resident memory:");
    let mut command = released(&bench.home.join("idle"))?;
    let host = Host::start(command.arg("serve"))?;
    tokio::time::sleep(REST).await;
    let idle = memory_of(&host.process())?;
    let text =
        format!("idle on stdio, its tools listed and nothing called: {:.1} MB, {:.1} MB without the program's file", idle.now, idle.own);
    bench.aims.at_most(idle.now, 14.0, text);
    drop(host);

    let platform = bench.platform(Duration::ZERO)?;
    let server = Program::server(&bench.home.join("connected"), &platform.url, &[])?;
    let callers: Vec<_> = (0..4).map(|number| bench.issuer.token("tenant-0", &format!("caller-{number}"))).collect();
    load.send_at_once(CONNECTIONS, &server, What::Read, 0, CALLS, &callers).await?;
    let memory = server.memory()?;
    let text = format!("at most under {CONNECTIONS} connections with {CALLS} calls: {:.1} MB", memory.most);
    bench.aims.at_most(memory.most, 30.0, format!("{text}, {:.1} MB at the end without the program's file", memory.own));

    // Of all that is kept for one tenant, this alone grows by another tenant.
    let server = Program::server(&bench.home.join("tenants"), &platform.url, &[])?;
    load.send(&server, What::Read, 0, CALLS, &callers).await?;
    tokio::time::sleep(REST).await;
    let before = server.memory()?.now;
    let tokens: Vec<_> = (0..TENANTS).map(|tenant| bench.issuer.token(&format!("tenant-idle-{tenant}"), "anna")).collect();
    load.send(&server, What::Read, CALLS, TENANTS, &tokens).await?;
    tokio::time::sleep(REST).await;
    let each = (server.memory()?.now - before) * 1e3 / f64::from(u32::try_from(TENANTS)?);
    bench.aims.at_most(each, 4.0, format!("an idle tenant of {TENANTS}, after one call each: {each:.2} KB"));
    Ok(())
}

/// A host on stdio that has listed the tools.
pub struct Host(Child);

impl Host {
    /// Starts a server, shakes hands and lists its tools.
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut host = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut input = host.0.stdin.take().ok_or("a program without input")?;
        let mut lines = BufReader::new(host.0.stdout.take().ok_or("a program without output")?).lines();
        let hello = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}"#;
        writeln!(input, r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{hello}}}"#)?;
        let mut answer = || lines.next().ok_or("a program ended").map_err(Failure::from)?.map_err(Failure::from);
        answer()?;
        input.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")?;
        input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}\n")?;
        let list = answer()?;
        if !list.contains("\"tools\"") {
            return Err(format!("no list of tools: {list}").into());
        }
        host.0.stdin = Some(input);
        Ok(host)
    }

    fn process(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}
