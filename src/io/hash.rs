//! SHA-256 in 32 bytes, which can be kept, compared and shortened.

use aws_lc_rs::digest::{SHA256, digest};

/// The digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digested = [0; 32];
    digested.copy_from_slice(digest(&SHA256, bytes).as_ref());
    digested
}
