//! Files and folders that are for their owner alone: how they are made, replaced, read and refused.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Bytes of a key.
const KEY: usize = 32;

/// Why a file or a folder does not count as its owner's own.
#[derive(Debug)]
#[cfg_attr(not(unix), expect(dead_code, reason = "elsewhere a folder of the user's profile is private by its inherited rights"))]
pub(crate) enum Fault {
    /// The system refuses, and at what.
    Unusable(&'static str, io::Error),
    /// It belongs to another user.
    Foreign,
    /// Others may open it: the mode that it has, and the one that it should have.
    Open { mode: u32, wanted: &'static str },
    /// It is no file, or a larger one than this program writes there.
    Strange,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(what, error) => write!(f, "{what}: {error}"),
            Self::Foreign => f.write_str("belongs to another user"),
            Self::Open { mode, .. } => write!(f, "is open to other users (mode {mode:03o})"),
            Self::Strange => f.write_str("is not what flowmaster-mcp writes there"),
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unusable(_, error) => error,
            Fault::Foreign | Fault::Open { .. } => Self::new(ErrorKind::PermissionDenied, format!("it {fault}")),
            Fault::Strange => Self::new(ErrorKind::InvalidData, format!("it {fault}")),
        }
    }
}

/// Makes a folder that only its owner can open, and those above it. One in which others could put something is refused.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    make_folder(path)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path)?.permissions()) & 0o022 != 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "others can write to it"));
    }
    Ok(())
}

/// Makes a folder as [`folder`] does. One that others can so much as open is refused.
pub(crate) fn closed_folder(path: &Path) -> Result<(), Fault> {
    make_folder(path).map_err(|error| Fault::Unusable("cannot be created", error))?;
    let found = fs::metadata(path).map_err(|error| Fault::Unusable("cannot be read", error))?;
    check(path, &found)
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// To write a file that its owner alone can read.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Opens a file for a lock or for somebody else to fill; an empty one is made where none is.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    options().read(true).create(true).truncate(false).open(path)
}

/// Writes a file that only its owner can read, and that outlasts a crash; nobody ever sees half of it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(&beside(path), path, bytes)
}

/// Replaces a file as [`replace`] does, by way of a name that the caller alone uses, so that nothing piles up where
/// processes are killed on it.
pub(crate) fn replace_by(new: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A file that a killed process left keeps the mode it had, so it is made anew.
    match fs::remove_file(new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write(new, bytes, true).and_then(|()| rename(new, path))?;
    sync_folder(path);
    Ok(())
}

/// Replaces a file that is worth nothing after a crash, and does not wait for the disk.
#[cfg(feature = "platform")]
pub(crate) fn replace_soon(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path);
    write(&new, bytes, false).and_then(|()| rename(&new, path))
}

/// Makes an empty file that is not there yet; says whether this was the one call that made it.
pub(crate) fn claim(path: &Path) -> io::Result<bool> {
    match options().create_new(true).open(path) {
        Ok(_) => {
            // The name has to outlast a crash of the machine, or it could be made again.
            #[cfg(unix)]
            if let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The key in a file. The first of several processes makes it, and all get the same one.
pub(crate) fn key(path: &Path) -> io::Result<[u8; KEY]> {
    let fresh = || {
        if let Some(parent) = path.parent() {
            folder(parent)?;
        }
        let mut fresh = vec![0; KEY];
        getrandom::fill(&mut fresh).map_err(io::Error::other)?;
        Ok(fresh)
    };
    let bytes = read_or_make(path, KEY, fresh)?;
    <[u8; KEY]>::try_from(bytes).map_err(|_| Fault::Strange.into())
}

/// What a file holds; nothing where there is none. A link is no file of ours, and a larger one is not read.
pub(crate) fn read(path: &Path, largest: usize) -> Result<Option<Vec<u8>>, Fault> {
    let unreadable = |error| Fault::Unusable("cannot be read", error);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(found) if !found.is_file() => return Err(Fault::Strange),
        Ok(found) => check(path, &found)?,
    }
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(largest as u64 + 1).read_to_end(&mut bytes)) {
        // Another process just took it away.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
        Ok(length) if length > largest => Err(Fault::Strange),
        Ok(_) => Ok(Some(bytes)),
    }
}

/// What a file holds, which is made where there is none. Of several who make it one wins, and all read the same.
pub(crate) fn read_or_make(path: &Path, largest: usize, fresh: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<Vec<u8>, Fault> {
    if let Some(bytes) = read(path, largest)? {
        return Ok(bytes);
    }
    let new = beside(path);
    let written = fresh().and_then(|bytes| write(&new, &bytes, true));
    let linked = written.and_then(|()| match fs::hard_link(&new, path) {
        // A link never replaces, so whoever comes second takes the first one's. Some folders know no links.
        Err(error) if error.kind() != ErrorKind::AlreadyExists && !path.exists() => fs::rename(&new, path),
        _ => Ok(()),
    });
    let _gone = fs::remove_file(&new);
    linked.map_err(|error| Fault::Unusable("cannot be written", error))?;
    sync_folder(path);
    read(path, largest)?.ok_or(Fault::Strange)
}

fn write(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let mut file = options().create_new(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

fn rename(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path).inspect_err(|_| drop(fs::remove_file(new)))
}

/// A name is durable once its folder is; where folders cannot be synced, the system does it in time.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _synced = folder.sync_all();
    }
}

/// A name next to a file that no other call uses.
fn beside(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", uuid::Uuid::now_v7().simple()))
}

/// Refuses what is another user's, and what others could open.
#[cfg(unix)]
fn check(path: &Path, found: &Metadata) -> Result<(), Fault> {
    judge(found, own_user(path))
}

#[cfg(unix)]
fn judge(found: &Metadata, own: Option<u32>) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt as _;

    if own.is_some_and(|own| found.uid() != own) {
        return Err(Fault::Foreign);
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Fault::Open { mode, wanted: if found.is_dir() { "700" } else { "600" } });
    }
    Ok(())
}

/// The user that this process writes as: the owner of a file that it makes.
#[cfg(unix)]
fn own_user(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::OnceLock;

    static OWN: OnceLock<u32> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Some(*own);
    }
    let own = fs::metadata("/proc/self").ok().map(|found| found.uid()).or_else(|| {
        let folder = if path.is_dir() { path } else { path.parent()? };
        tempfile::tempfile_in(folder).and_then(|file| file.metadata()).ok().map(|found| found.uid())
    })?;
    Some(*OWN.get_or_init(|| own))
}

#[cfg(not(unix))]
fn check(_: &Path, _: &Metadata) -> Result<(), Fault> {
    Ok(())
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
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o750)).unwrap();
        folder(&inner).unwrap();
        assert!(matches!(closed_folder(&inner), Err(Fault::Open { mode: 0o750, wanted: "700" })));
        fs::set_permissions(inner.join("k"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(key(&inner.join("k")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_file_is_replaced_whole_and_read_up_to_its_bound() {
        let data = tempfile::tempdir().unwrap();
        let (path, new) = (data.path().join("f"), data.path().join("f.half"));
        assert!(read(&path, 4).unwrap().is_none());
        // What a killed process left is no hindrance, and its mode does not stay.
        fs::write(&new, "left").unwrap();
        replace_by(&new, &path, b"1234").unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), b"1234");
        assert!(matches!(read(&path, 3), Err(Fault::Strange)));
        assert!(replace(&data.path().join("none").join("f"), b"1").is_err());
        let taken = data.path().join("folder");
        fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, b"1").is_err());
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 2, "nothing is left beside what could not be replaced");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/dev/zero", &new).unwrap();
            assert!(matches!(read(&new, 4), Err(Fault::Strange)), "a link is no file of ours");
        }
    }
    #[cfg(unix)]
    #[test]
    fn what_is_another_users_is_refused_before_its_mode_is_looked_at() {
        use std::os::unix::fs::MetadataExt as _;
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("f");
        replace(&path, b"1").unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(own_user(&path), Some(found.uid()), "whoever writes a file owns it");
        judge(&found, own_user(&path)).unwrap();
        assert!(matches!(judge(&found, Some(found.uid() + 1)), Err(Fault::Foreign)));
        // Only the superuser can give a file away, and then see how it is refused.
        if std::os::unix::fs::chown(&path, Some(found.uid() + 1), None).is_ok() {
            assert!(matches!(read(&path, 4), Err(Fault::Foreign)));
            assert_eq!(key(&path).unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    }
}
