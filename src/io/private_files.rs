//! Files and folders that are for their owner alone: how they are made, replaced, read and refused.

mod owner;

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Bytes of a key.
const KEY: usize = 32;
/// How often a file is opened again that others replace meanwhile.
const ATTEMPTS: usize = 16;

/// Why a file or a folder does not count as its owner's own.
#[derive(Debug)]
#[cfg_attr(not(unix), expect(dead_code, reason = "elsewhere a folder of the user's profile is private by its inherited rights"))]
pub(crate) enum Fault {
    /// The system refuses, and at what.
    Unusable(&'static str, io::Error),
    /// It belongs to another user.
    WrongOwner,
    /// Others may open it: the mode that it has, and the one that it should have.
    TooPermissive { mode: u32, wanted: &'static str },
    /// The folder in which it is does not count as its owner's own.
    UnsafeParent(Box<Fault>),
    /// It is not a file, or a larger one than this program writes there.
    NotOurs,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(what, error) => write!(f, "{what}: {error}"),
            Self::WrongOwner => f.write_str("belongs to another user"),
            Self::TooPermissive { mode, .. } => write!(f, "is open to other users (mode {mode:03o})"),
            Self::UnsafeParent(why) => write!(f, "is in a folder that {why}"),
            Self::NotOurs => f.write_str("is not what flowmaster-mcp writes there"),
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unusable(_, error) => error,
            Fault::WrongOwner | Fault::TooPermissive { .. } | Fault::UnsafeParent(_) => {
                Self::new(ErrorKind::PermissionDenied, format!("it {fault}"))
            }
            Fault::NotOurs => Self::new(ErrorKind::InvalidData, format!("it {fault}")),
        }
    }
}

/// Makes a folder that only its owner can open, and those above it. One that is another user's or in which others could put
/// something is refused.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    make_folder(path)?;
    Ok(owner::kept(&fs::metadata(path)?, path)?)
}

/// Makes a folder as [`folder`] does. One that others can so much as open is refused.
pub(crate) fn closed_folder(path: &Path) -> Result<(), Fault> {
    make_folder(path).map_err(|error| Fault::Unusable("cannot be created", error))?;
    let found = fs::metadata(path).map_err(|error| Fault::Unusable("cannot be read", error))?;
    owner::closed(&found, path)
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

/// Opens a file for a lock or for another writer; creates an empty one where there is none.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    options().read(true).create(true).truncate(false).open(path)
}

/// Opens a file for this program alone, and makes it where there is none. A link, a file of another user and one that others
/// can open are refused, and so is a folder in which others could put one.
pub(crate) fn open_closed(path: &Path) -> io::Result<File> {
    folder(folder_of(path))?;
    // A link to nowhere must not lead to a new file there.
    if fs::symlink_metadata(path).is_err() {
        drop(open(path)?);
    }
    Ok(open_own(path)?.ok_or(Fault::NotOurs)?)
}

/// Writes a file that only its owner can read, and that outlasts a crash; a reader never sees half of it.
#[cfg(test)]
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(&beside(path), path, bytes)
}

/// Replaces a file as [`replace`] does, by way of a name that the caller alone uses, so that nothing piles up where
/// processes are killed on it.
pub(crate) fn replace_by(new: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A file that a killed process left keeps the mode it had, so it is made again.
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

/// The key in a file, whose folder is made where there is none. The first of several processes makes the key, and all get
/// the same one.
pub(crate) fn key(path: &Path) -> io::Result<[u8; KEY]> {
    folder(folder_of(path))?;
    let fresh = || {
        let mut fresh = vec![0; KEY];
        getrandom::fill(&mut fresh).map_err(io::Error::other)?;
        Ok(fresh)
    };
    let bytes = read_or_make(path, KEY, fresh)?;
    <[u8; KEY]>::try_from(bytes).map_err(|_| Fault::NotOurs.into())
}

/// What a file holds; nothing where there is none. A link is not a file of ours, a larger one is not read, and none counts in a
/// folder that is another user's or in which others could put something.
pub(crate) fn read(path: &Path, largest: usize) -> Result<Option<Vec<u8>>, Fault> {
    let Some(file) = open_own(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    match file.take(largest as u64 + 1).read_to_end(&mut bytes) {
        Err(error) => Err(unreadable(error)),
        Ok(length) if length > largest => Err(Fault::NotOurs),
        Ok(_) => Ok(Some(bytes)),
    }
}

fn open_own(path: &Path) -> Result<Option<File>, Fault> {
    let folder = folder_of(path);
    match fs::metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(found) => owner::kept(&found, folder).map_err(|why| Fault::UnsafeParent(Box::new(why)))?,
    }
    for _ in 0..ATTEMPTS {
        let named = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
            Ok(named) if !named.is_file() => return Err(Fault::NotOurs),
            Ok(named) => named,
        };
        match open_named(path, &named) {
            Ok(Some((file, found))) => return owner::closed(&found, folder).map(|()| Some(file)),
            Ok(None) => {}
            // Another process just took it away.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // Whose it is says more than that it cannot be opened.
            Err(error) => return owner::closed(&named, folder).and(Err(unreadable(error))),
        }
    }
    Err(Fault::NotOurs)
}

/// Opens the very file that was found by a name; nothing where the name means another one by now, such as a link. What
/// blocks when it is opened can only come in between by a process of the same user, as no other user can write to the folder.
fn open_named(path: &Path, named: &Metadata) -> io::Result<Option<(File, Metadata)>> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    Ok((found.is_file() && is_same(named, &found)).then_some((file, found)))
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

fn unreadable(error: io::Error) -> Fault {
    Fault::Unusable("cannot be read", error)
}

/// What a file holds, which is made where there is none. Of several who make it one wins, and all read the same.
pub(crate) fn read_or_make(path: &Path, largest: usize, fresh: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<Vec<u8>, Fault> {
    read_or_make_by(path, largest, fresh, |new, path| fs::hard_link(new, path))
}

fn read_or_make_by(
    path: &Path,
    largest: usize,
    fresh: impl FnOnce() -> io::Result<Vec<u8>>,
    link: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<Vec<u8>, Fault> {
    if let Some(bytes) = read(path, largest)? {
        return Ok(bytes);
    }
    let new = beside(path);
    let written = fresh().and_then(|bytes| write(&new, &bytes, true));
    let named = written.and_then(|()| match link(&new, path) {
        // A link never replaces, so the second process uses the first one's. Some folders know no links.
        Err(error) if error.kind() != ErrorKind::AlreadyExists => rename_first(&new, path),
        _ => Ok(()),
    });
    let _gone = fs::remove_file(&new);
    named.map_err(|error| Fault::Unusable("cannot be written", error))?;
    sync_folder(path);
    read(path, largest)?.ok_or(Fault::NotOurs)
}

/// Renames a file to a name that is not taken yet. A renamed file replaces, so one process at a time looks and renames;
/// the lock lies beside the file and stays.
fn rename_first(new: &Path, path: &Path) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let lock = open(Path::new(&beside))?;
    lock.lock()?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(new, path),
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
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

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name next to a file that no other call uses.
fn beside(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", RandomState::new().build_hasher().finish()))
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
        assert!(matches!(closed_folder(&inner), Err(Fault::TooPermissive { mode: 0o750, wanted: "700" })));
        fs::set_permissions(inner.join("k"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(key(&inner.join("k")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_file_is_replaced_whole_and_read_up_to_its_bound() {
        let data = tempfile::tempdir().unwrap();
        let (path, new) = (data.path().join("f"), data.path().join("f.half"));
        assert!(read(&path, 4).unwrap().is_none());
        // What a killed process left is not a hindrance, and its mode does not stay.
        fs::write(&new, "left").unwrap();
        replace_by(&new, &path, b"1234").unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), b"1234");
        assert!(matches!(read(&path, 3), Err(Fault::NotOurs)));
        assert!(replace(&data.path().join("none").join("f"), b"1").is_err());
        let taken = data.path().join("folder");
        fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, b"1").is_err());
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 2, "nothing is left beside what could not be replaced");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/dev/zero", &new).unwrap();
            assert!(matches!(read(&new, 4), Err(Fault::NotOurs)), "a link is not a file of ours");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_is_looked_at_before_a_file_in_it_counts() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("k");
        let made = key(&path).unwrap();
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o722)).unwrap();
        assert_eq!(key(&path).unwrap_err().kind(), ErrorKind::PermissionDenied, "although the key is there");
        let refused = read(&path, KEY).unwrap_err();
        assert_eq!(refused.to_string(), "is in a folder that is open to other users (mode 722)");
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(key(&path).unwrap(), made);
    }

    #[cfg(unix)]
    #[test]
    fn what_comes_under_a_name_after_it_was_looked_at_is_not_read() {
        let data = tempfile::tempdir().unwrap();
        let (path, other) = (data.path().join("f"), data.path().join("other"));
        replace(&path, b"1").unwrap();
        replace(&other, b"2").unwrap();
        let named = fs::symlink_metadata(&path).unwrap();
        assert!(open_named(&path, &named).unwrap().is_some());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(open_named(&path, &named).unwrap().is_none(), "a link to a file of the same user");
        fs::rename(&other, &path).unwrap();
        assert!(open_named(&path, &named).unwrap().is_none(), "another file");
    }

    #[test]
    fn a_file_can_be_read_while_it_is_replaced() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("f");
        replace(&path, b"0").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let new = beside(&path);
                    write(&new, b"1", false).and_then(|()| rename(&new, &path)).unwrap();
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(read(&path, 1).unwrap().unwrap().len(), 1);
            }
        });
    }

    #[test]
    fn where_no_link_can_be_made_one_at_a_time_looks_and_renames() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("k");
        let (come, has_come) = std::sync::mpsc::channel();
        // Another process is between its look and its renaming.
        let lock = open(&data.path().join("k.lock")).unwrap();
        lock.lock().unwrap();
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let no_link = move |_: &Path, _: &Path| {
                    come.send(()).unwrap();
                    Err(ErrorKind::Unsupported.into())
                };
                read_or_make_by(&path, 5, || Ok(b"2".to_vec()), no_link).unwrap()
            });
            has_come.recv().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
            replace(&path, b"first").unwrap();
            lock.unlock().unwrap();
            second.join().unwrap()
        });
        assert_eq!(second, b"first");
        fs::remove_file(&path).unwrap();
        let alone = read_or_make_by(&path, 5, || Ok(b"3".to_vec()), |_, _| Err(ErrorKind::Unsupported.into())).unwrap();
        assert_eq!(alone, b"3");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 2, "the file and its lock");
    }
}
