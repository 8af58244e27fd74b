//! The `flowmaster-mcp` program; see the library's `cli`.

/// Calls allocate some hundred small objects each, which it does in less time than the system's allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    flowmaster_mcp::cli::main()
}
