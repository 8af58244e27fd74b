//! Whose a file or a folder is, and who else can open it.

use std::fs::Metadata;
use std::path::Path;

use super::Fault;

/// Refuses what is another user's, and what others could open: a folder, or a file in it.
#[cfg(unix)]
pub(crate) fn closed(found: &Metadata, folder: &Path) -> Result<(), Fault> {
    own_but(found, folder, 0o077)
}

/// Refuses a folder that is another user's, and one in which others could put something.
#[cfg(unix)]
pub(crate) fn kept(found: &Metadata, folder: &Path) -> Result<(), Fault> {
    own_but(found, folder, 0o022)
}

#[cfg(unix)]
fn own_but(found: &Metadata, folder: &Path, forbidden: u32) -> Result<(), Fault> {
    use std::os::unix::fs::MetadataExt as _;

    if !is_own(found, folder, process_user()) {
        return Err(Fault::WrongOwner);
    }
    let mode = found.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(Fault::TooPermissive { mode, wanted: if found.is_dir() { "700" } else { "600" } });
    }
    Ok(())
}

/// Whether the owner is this process's user, or the user who owns files that this process creates in the folder: a server
/// of files may give them to another (NFS with `root_squash`), and a process may not see who it is. Where neither can be
/// told, nothing speaks against it.
#[cfg(unix)]
fn is_own(found: &Metadata, folder: &Path, user: Option<u32>) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    user == Some(found.uid()) || made_in(folder).map_or(user.is_none(), |maker| maker == found.uid())
}

/// The user that this process is, where the system has `/proc`.
#[cfg(unix)]
fn process_user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::OnceLock;

    static USER: OnceLock<Option<u32>> = OnceLock::new();
    *USER.get_or_init(|| std::fs::metadata("/proc/self").ok().map(|found| found.uid()))
}

/// Whose a file becomes that this process makes in a folder. The last answer is kept, for many files in one folder, and
/// counts for that folder alone.
#[cfg(unix)]
fn made_in(folder: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    use std::sync::{Mutex, PoisonError};

    static LAST: Mutex<Option<((u64, u64), u32)>> = Mutex::new(None);
    let about = std::fs::metadata(folder).ok()?;
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let place = (about.dev(), about.ino());
    if let Some((of, maker)) = *last
        && of == place
    {
        return Some(maker);
    }
    let maker = tempfile::tempfile_in(folder).and_then(|file| file.metadata()).ok()?.uid();
    *last = Some((place, maker));
    Some(maker)
}

#[cfg(not(unix))]
pub(crate) fn closed(_: &Metadata, _: &Path) -> Result<(), Fault> {
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn kept(_: &Metadata, _: &Path) -> Result<(), Fault> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::{MetadataExt as _, chown};

    use super::*;
    use crate::io::private_files::{closed_folder, folder, key, read, replace};

    #[test]
    fn what_this_process_made_is_its_own_whoever_it_becomes() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("f");
        replace(&path, b"1").unwrap();
        let found = fs::metadata(&path).unwrap();
        let (user, another) = (found.uid(), found.uid() + 1);
        assert!(process_user().is_none_or(|known| known == user));
        // As on a server of files that gives them to another than the process is.
        for known in [Some(user), Some(another), None] {
            assert!(is_own(&found, data.path(), known), "{known:?}");
        }
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "nothing is left of the trial");
        // Where no file can be created, the known user decides.
        assert!(!is_own(&found, &path, Some(another)) && is_own(&found, &path, None));
        // Only the superuser can give a file away.
        if chown(&path, Some(another), None).is_ok() {
            let found = fs::metadata(&path).unwrap();
            assert!(!is_own(&found, data.path(), Some(user)) && !is_own(&found, data.path(), None));
        }
    }

    #[test]
    fn what_is_another_users_is_refused_before_its_mode_is_looked_at() {
        let data = tempfile::tempdir().unwrap();
        let (place, path) = (data.path().join("a"), data.path().join("a").join("f"));
        folder(&place).unwrap();
        replace(&path, b"1").unwrap();
        closed(&fs::metadata(&path).unwrap(), &place).unwrap();
        let another = fs::metadata(&path).unwrap().uid() + 1;
        // Only the superuser can give something away; who is not meets something of the superuser's.
        if chown(&path, Some(another), None).is_err() {
            assert_eq!(folder(Path::new("/")).unwrap_err().kind(), ErrorKind::PermissionDenied);
            return;
        }
        assert!(matches!(read(&path, 4), Err(Fault::WrongOwner)));
        assert_eq!(key(&path).unwrap_err().kind(), ErrorKind::PermissionDenied);
        chown(&path, Some(another - 1), None).unwrap();
        assert!(read(&path, 4).unwrap().is_some());
        chown(&place, Some(another), None).unwrap();
        let refused = folder(&place).unwrap_err();
        assert!(refused.kind() == ErrorKind::PermissionDenied && refused.to_string().contains("another user"), "{refused}");
        assert!(matches!(closed_folder(&place), Err(Fault::WrongOwner)));
        let refused = read(&path, 4).unwrap_err();
        assert!(matches!(&refused, Fault::UnsafeParent(why) if matches!(**why, Fault::WrongOwner)), "{refused}");
    }
}
