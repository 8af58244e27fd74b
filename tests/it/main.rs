//! The one integration-test binary: it speaks MCP and HTTP to the real thing, and walks what the outside sees.

mod architecture;
mod bench;
mod catalogue;
mod entities;
mod events;
#[cfg(feature = "platform")]
mod platform_folder;
#[cfg(feature = "platform")]
mod support;
mod wire;
