//! Files of the data folder that are for their owner alone: keys, calls that wait, and what was used up.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;

/// Bytes of a key.
const KEY: usize = 32;

/// Makes a folder that only its owner can open, and those above it. One in which others could put something is refused.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions()) & 0o022 != 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "others can write to it"));
    }
    Ok(())
}

/// Writes a file that only its owner can read; nobody ever sees half of it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let half = beside(path);
    write(&half, bytes).and_then(|()| fs::rename(&half, path)).inspect_err(|_| drop(fs::remove_file(&half)))
}

/// Makes an empty file that is not there yet; says whether this was the one call that made it.
pub(super) fn claim(path: &Path) -> io::Result<bool> {
    match options().create_new(true).open(path) {
        Ok(_) => {
            // The name has to outlast a crash of the machine, or it could be made again.
            #[cfg(unix)]
            if let Some(parent) = path.parent() {
                fs::File::open(parent)?.sync_all()?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The key in a file. The first of several processes makes it, and all get the same one.
pub(super) fn key(path: &Path) -> io::Result<[u8; KEY]> {
    match read_key(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return read,
    }
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    let mut fresh = [0; KEY];
    getrandom::fill(&mut fresh).map_err(io::Error::other)?;
    let whole = beside(path);
    // A link is made only where nothing is, so whoever comes second takes the first one's key.
    let linked = write(&whole, &fresh).and_then(|()| fs::hard_link(&whole, path));
    let _gone = fs::remove_file(&whole);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => read_key(path),
    }
}

fn read_key(path: &Path) -> io::Result<[u8; KEY]> {
    let file = fs::File::open(path)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o077 != 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "others can read it"));
    }
    let mut bytes = Vec::with_capacity(KEY);
    file.take(KEY as u64 + 1).read_to_end(&mut bytes)?;
    <[u8; KEY]>::try_from(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no key of this program"))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options().create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// To write a file that its owner alone can read.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A name next to a file that no other call uses.
fn beside(path: &Path) -> std::path::PathBuf {
    path.with_extension(format!("{}.new", uuid::Uuid::now_v7().simple()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_for_a_key_get_the_same_one() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("deep").join("seal.key");
        let keys: Vec<[u8; KEY]> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| key(&path).unwrap())).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0] && *key != [0; KEY]));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        fs::write(&path, b"short").unwrap();
        assert!(key(&path).is_err());
    }

    #[test]
    fn a_file_is_claimed_once() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("one");
        let won: usize = std::thread::scope(|scope| {
            let tried: Vec<_> = (0..8).map(|_| scope.spawn(|| usize::from(claim(&path).unwrap()))).collect();
            tried.into_iter().map(|tried| tried.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
    }

    #[cfg(unix)]
    #[test]
    fn files_and_folders_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let inner = data.path().join("a").join("b");
        folder(&inner).unwrap();
        replace(&inner.join("f"), b"1").unwrap();
        replace(&inner.join("f"), b"2").unwrap();
        key(&inner.join("k")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join("f")), mode(&inner.join("k"))), (0o700, 0o600, 0o600));
        assert_eq!(fs::read(inner.join("f")).unwrap(), b"2");
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(folder(&inner).unwrap_err().kind(), ErrorKind::PermissionDenied);
        fs::set_permissions(inner.join("k"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(key(&inner.join("k")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
