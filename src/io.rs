//! Bytes in and out: private files, HTTP bodies with a bound, digests and hexadecimal text.

pub(crate) mod hash;
pub(crate) mod hex;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod private_files;
