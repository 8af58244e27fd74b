//! A data folder of an earlier release, copied for one test.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Copies the folder that the first release left, open to its owner alone, and returns the ids of what is in it.
pub fn first_release(data: &Path) -> Value {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/platform/fixtures/v1");
    copy(&fixture, data);
    serde_json::from_str(&fs::read_to_string(fixture.join("objects.json")).unwrap()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    mode(to, 0o700);
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::write(&to, fs::read(&from).unwrap()).unwrap();
            mode(&to, 0o600);
        }
    }
}

#[cfg(unix)]
fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn mode(_: &Path, _: u32) {}
