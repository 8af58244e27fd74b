//! Bytes in and out: private files, HTTP bodies with a bound, where they may go, digests, hexadecimal text, exact numbers, and migrations of SQLite files.

pub(crate) mod destinations;
pub(crate) mod extent;
pub(crate) mod hash;
pub(crate) mod hex;
pub(crate) mod inbound;
pub(crate) mod migrations;
pub(crate) mod numbers;
pub(crate) mod outbound;
pub(crate) mod private_files;
pub(crate) mod standard_webhooks;
