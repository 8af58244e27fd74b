//! Where a user's settings and data live on each system.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The configuration file that is read by default.
pub(super) fn config_file(environment: Environment<'_>) -> Option<PathBuf> {
    folder(environment, "XDG_CONFIG_HOME", ".config", "APPDATA").map(|folder| folder.join("config.toml"))
}

/// The embedded platform's default folder.
pub(super) fn data_folder(environment: Environment<'_>) -> Result<PathBuf> {
    folder(environment, "XDG_DATA_HOME", ".local/share", "LOCALAPPDATA").ok_or_else(|| {
        Error::configuration(Kind::Invalid, "FM-CONFIG-NO-HOME", "there is no home folder to keep the embedded platform's data in")
            .hint("Name a folder with --data or FLOWMASTER_DATA_DIR.")
    })
}

fn folder(environment: Environment<'_>, xdg: &str, under_home: &str, windows: &str) -> Option<PathBuf> {
    let named = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || named("HOME").or_else(std::env::home_dir).filter(|home| !home.as_os_str().is_empty());
    let base = if cfg!(windows) {
        named(windows)
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        named(xdg).or_else(|| home().map(|home| home.join(under_home)))
    };
    base.map(|base| base.join("flowmaster"))
}
