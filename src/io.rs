//! Bytes in and out: private files, HTTP bodies with a bound, digests, hexadecimal text, and migrations of SQLite files.

pub(crate) mod hash;
pub(crate) mod hex;
pub(crate) mod inbound;
pub(crate) mod migrations;
pub(crate) mod outbound;
pub(crate) mod private_files;
