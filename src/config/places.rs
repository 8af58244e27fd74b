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

/// The data folder that a setting names. Hosts start a program without a shell, so `~` and `$HOME` are read here; and in a
/// working directory of their choice, so a relative folder would be another one each time.
pub(super) fn named_folder(folder: PathBuf, environment: Environment<'_>) -> Result<PathBuf> {
    let rest = ["~", "$HOME", "${HOME}"].iter().find_map(|home| folder.strip_prefix(home).ok());
    let folder = match (rest, home(environment)) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => folder,
    };
    if folder.is_absolute() {
        return Ok(folder);
    }
    let hint = std::path::absolute(&folder).map_or_else(|_| String::new(), |absolute| format!(", such as {}", absolute.display()));
    Err(Error::configuration(Kind::Invalid, "FM-CONFIG-INVALID", format!("the data folder {} is relative", folder.display()))
        .hint(format!("Name an absolute folder{hint}.")))
}

fn home(environment: Environment<'_>) -> Option<PathBuf> {
    let named = environment("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(std::env::home_dir).filter(|home| !home.as_os_str().is_empty())
}

fn folder(environment: Environment<'_>, xdg: &str, under_home: &str, windows: &str) -> Option<PathBuf> {
    let named = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        named(windows)
    } else if cfg!(target_os = "macos") {
        home(environment).map(|home| home.join("Library/Application Support"))
    } else {
        named(xdg).or_else(|| home(environment).map(|home| home.join(under_home)))
    };
    base.map(|base| base.join("flowmaster"))
}
