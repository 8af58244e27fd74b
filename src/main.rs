//! The `flowmaster-mcp` program; see the library's `cli`.

fn main() -> std::process::ExitCode {
    flowmaster_mcp::cli::main()
}
