//! The key of a record's digests: made once for a data folder, so that equal arguments have equal digests for whoever
//! holds it, and nobody else can try out what they were.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use aws_lc_rs::hmac;

use super::spool::make_folder;
use crate::error::{Error, Kind, Result};

const LENGTH: usize = 32;

/// The key of a data folder; made where there is none.
pub(super) fn read_or_make(data_dir: &Path) -> Result<hmac::Key> {
    let path = data_dir.join("audit.key");
    let unusable = |error: std::io::Error| {
        Error::new(Kind::Internal, "FM-MCP-AUDIT-KEY", format!("{} cannot be used: {error}", path.display()))
            .hint("Check that the data folder belongs to you and is writable.")
    };
    if !path.exists() {
        make_folder(data_dir).and_then(|()| make(data_dir, &path)).map_err(unusable)?;
    }
    let bytes = fs::read(&path).map_err(unusable)?;
    if bytes.len() != LENGTH {
        return Err(unusable(std::io::Error::other("it does not hold 32 bytes")));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Written under another name first, and given its own only where nobody was faster.
fn make(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    let half = data_dir.join(format!("audit.key.{}", uuid::Uuid::now_v7()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&half)?.write_all(&bytes)?;
    let linked = fs::hard_link(&half, path);
    let _gone = fs::remove_file(&half);
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_key_that_only_its_owner_can_read() {
        let data = tempfile::tempdir().unwrap();
        let tag = |data: &Path| hmac::sign(&read_or_make(data).unwrap(), b"x").as_ref().to_vec();
        assert_eq!(tag(data.path()), tag(data.path()));
        assert_ne!(tag(data.path()), tag(tempfile::tempdir().unwrap().path()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(data.path().join("audit.key")).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
        fs::write(data.path().join("audit.key"), "short").unwrap();
        assert_eq!(read_or_make(data.path()).unwrap_err().code(), "FM-MCP-AUDIT-KEY");
    }
}
