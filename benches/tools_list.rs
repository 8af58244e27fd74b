//! What a tools/list costs, against a bare rmcp server with the same tools; both over a pipe in one process.
//!
//! `cargo bench --bench tools_list` prints the ratio of the two, median of many rounds in turn. The aim is 1.1 or less. It
//! prints what the list costs a model, too, at four bytes a token: at most 180 tokens a tool to find and call it, and 80 for
//! the outline of its answer.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowmaster_mcp::auth::{Caller, Credential, Principal};
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::server::{self, App, Settings};
use rmcp::model::{ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 60;
const CALLS: usize = 50;

/// The least that a server with these tools can be.
#[derive(Clone)]
struct Bare(Arc<Vec<Tool>>);

impl ServerHandler for Bare {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.0.to_vec()))
    }
}

/// A host that speaks lines, so that its own work is the same for both.
struct Host {
    input: WriteHalf<DuplexStream>,
    output: BufReader<ReadHalf<DuplexStream>>,
    line: Vec<u8>,
}

impl Host {
    async fn open(stream: DuplexStream) -> Result<Self, Failure> {
        let (output, input) = split(stream);
        let mut host = Self { input, output: BufReader::with_capacity(1 << 20, output), line: Vec::new() };
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
        host.ask(hello).await?;
        host.input.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n").await?;
        Ok(host)
    }

    async fn ask(&mut self, request: &str) -> Result<(), Failure> {
        self.input.write_all(request.as_bytes()).await?;
        self.input.write_all(b"\n").await?;
        self.line.clear();
        self.output.read_until(b'\n', &mut self.line).await?;
        Ok(())
    }

    async fn list(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        for _ in 0..CALLS {
            self.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await?;
        }
        Ok(begun.elapsed())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let client = Client::builder(Arc::new(Fixed::new("http://127.0.0.1:9")?)).build();
    let principal: Arc<dyn Principal> = Arc::new(Arc::new(Caller::owner(Credential::Owner)));
    let app = App::new(server::Options { client, settings: Settings::default() })?;
    let (near, far) = duplex(1 << 20);
    let (input, output) = split(far);
    tokio::spawn(server::serve_stdio(app, principal, input, output, CancellationToken::new()));
    let mut ours = Host::open(near).await?;

    let tools: Vec<Tool> = serde_json::from_value(server::list_tools_json()["tools"].take())?;
    let count = tools.len();
    let (mut called, mut answered) = (0, 0);
    for tool in &tools {
        let sent = json!({ "name": tool.name, "description": tool.description, "inputSchema": tool.input_schema });
        called += sent.to_string().len() / 4;
        answered += tool.output_schema.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default().len() / 4;
    }
    println!(
        "{called} tokens of names, descriptions and arguments, {} a tool (aim 180); {answered} of answers, {} a tool (aim 80)",
        called / count,
        answered / count,
    );
    let (near, far) = duplex(1 << 20);
    tokio::spawn(async move { rmcp::serve_server(Bare(Arc::new(tools)), split(far)).await?.waiting().await.map_err(Failure::from) });
    let mut bare = Host::open(near).await?;

    let mut ratios = Vec::with_capacity(ROUNDS);
    let (mut mine, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let (one, other) = (ours.list().await?, bare.list().await?);
        (mine, theirs) = (mine + one, theirs + other);
        ratios.push(one.as_secs_f64() / other.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let calls = u32::try_from(ROUNDS * CALLS)?;
    println!(
        "tools/list of {count} tools, {} bytes: {:?} a call, bare {:?}; ratio {:.3} (median of {ROUNDS} rounds)",
        ours.line.len(),
        mine / calls,
        theirs / calls,
        ratios[ROUNDS / 2],
    );
    Ok(())
}
