//! Files of a person's folder, which a call names in place of their content: `file:reports/march.pdf`.
//!
//! The operator of a server on stdio allows one folder. It is held as a directory handle, below which alone anything is
//! opened, so that neither `..` nor a link leads out.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde_json::{Map, Value};

use crate::api::Entry;
use crate::error::{Error, Kind, Result};

/// How a call names a file.
const SCHEME: &str = "file:";
/// Largest file, in bytes: what a document may have.
const MAX_FILE: u64 = 25 * 1024 * 1024;
/// Longest path, in bytes.
const MAX_PATH: usize = 1_024;

/// Where a tool takes a file.
#[derive(Clone, Copy)]
enum Place {
    /// An argument that takes base64.
    Base64(&'static str),
    /// A field of the argument that takes text.
    Text(&'static str, &'static str),
}

const PLACES: [Place; 2] = [Place::Base64("document"), Place::Text("sourceConfig", "content")];

/// The folder that files are read from.
#[derive(Debug)]
pub struct Folder {
    dir: Dir,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// It is not a folder, or one that holds everything: the root or the user's home.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let wrong = |what: &str| {
            Error::configuration(Kind::Invalid, "FM-CONFIG-ALLOW-DIR", format!("the folder {} {what}", path.display()))
                .hint("Name a folder made for files that models may read, such as ~/Documents/flowmaster.")
        };
        let found = path.canonicalize().map_err(|error| wrong("cannot be found").caused_by(error))?;
        let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
        if found.parent().is_none() || home.is_some_and(|home| home.starts_with(&found)) {
            return Err(wrong("holds the whole home folder, which no model may read"));
        }
        let dir = Dir::open_ambient_dir(&found, ambient_authority()).map_err(|error| wrong("cannot be opened").caused_by(error))?;
        Ok(Arc::new(Self { dir, path: found }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a file holds.
    fn read(&self, pointer: &str, path: &str) -> Result<Vec<u8>> {
        let refused = |detail: String| {
            Error::new(Kind::Invalid, "FM-MCP-FILE", "the file cannot be read")
                .field(pointer, "file", detail)
                .hint("Name a regular file below the folder that the person allows, by its path from there.")
        };
        check(path).map_err(|detail| refused(detail.to_owned()))?;
        let unread = |error: std::io::Error| {
            refused(match error.kind() {
                std::io::ErrorKind::NotFound => "names a file that there is not".to_owned(),
                kind => format!("names a file that cannot be read ({kind})"),
            })
        };
        // A pipe would be waited for.
        if !self.dir.metadata(path).map_err(unread)?.is_file() {
            return Err(refused("names something else than a regular file".to_owned()));
        }
        let file = self.dir.open(path).map_err(unread)?;
        let mut content = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(unread)?;
        if content.len() as u64 > MAX_FILE {
            return Err(refused(format!("names a file of more than {MAX_FILE} bytes")));
        }
        Ok(content)
    }
}

/// Puts the content of the files that a call names in their places. Where no folder is allowed, that is said.
pub(crate) async fn fill(folder: Option<&Arc<Folder>>, entry: &Entry, mut arguments: Map<String, Value>) -> Result<Map<String, Value>> {
    for place in PLACES {
        let (pointer, text) = match place {
            Place::Base64(name) => (format!("/{name}"), arguments.get(name)),
            Place::Text(name, field) => (format!("/{name}/{field}"), arguments.get(name).and_then(|value| value.get(field))),
        };
        let Some(path) = text.and_then(Value::as_str).and_then(|text| text.strip_prefix(SCHEME)) else { continue };
        let folder = Arc::clone(folder.ok_or_else(|| {
            Error::new(Kind::Invalid, "FM-MCP-FILE", format!("{} cannot read files here", entry.spec.name))
                .field(&pointer, "file", "names a file, and the server reads none")
                .hint("Give the content itself. On stdio the person can allow a folder with --allow-dir.")
        })?);
        let (path, at) = (path.to_owned(), pointer.clone());
        let content = tokio::task::spawn_blocking(move || folder.read(&at, &path)).await.map_err(Error::internal)??;
        match place {
            Place::Base64(name) => drop(arguments.insert(name.to_owned(), STANDARD.encode(content).into())),
            Place::Text(name, field) => {
                let text = String::from_utf8(content).map_err(|_| {
                    Error::new(Kind::Invalid, "FM-MCP-FILE", "the file cannot be read").field(
                        &pointer,
                        "file",
                        "names a file that is not UTF-8 text",
                    )
                })?;
                if let Some(Value::Object(fields)) = arguments.get_mut(name) {
                    fields.insert(field.to_owned(), text.into());
                }
            }
        }
    }
    Ok(arguments)
}

/// Rejects paths that are not of a plain file below the folder.
fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err("is no path of 1 to 1024 bytes");
    }
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) if name.to_string_lossy().starts_with('.') => return Err("names a hidden file or folder"),
            Component::Normal(_) => {}
            Component::ParentDir => return Err("leads out of the folder"),
            _ => return Err("is not a path from the folder on, such as reports/march.pdf"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::catalogue;

    async fn upload(folder: Option<&Arc<Folder>>, document: &str) -> Result<Map<String, Value>> {
        let Value::Object(arguments) = json!({ "document": document }) else { unreachable!() };
        fill(folder, catalogue().get("documents_upload").unwrap(), arguments).await
    }

    #[tokio::test]
    async fn a_regular_file_below_the_folder_takes_its_place_and_nothing_else_does() {
        let home = tempfile::tempdir().unwrap();
        let allowed = home.path().join("allowed");
        std::fs::create_dir_all(allowed.join("reports")).unwrap();
        std::fs::write(home.path().join("secret"), "s").unwrap();
        std::fs::write(allowed.join("reports/march.txt"), "total 5").unwrap();
        std::fs::write(allowed.join(".hidden"), "h").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(home.path().join("secret"), allowed.join("out")).unwrap();
            std::os::unix::fs::symlink("../secret", allowed.join("up")).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                allowed.join("pipe"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
                0,
            )
            .unwrap();
        }
        let folder = Folder::open(&allowed).unwrap();
        let filled = upload(Some(&folder), "file:reports/march.txt").await.unwrap();
        assert_eq!(filled["document"], STANDARD.encode("total 5"));
        assert_eq!(upload(Some(&folder), "dG90YWwgNQ==").await.unwrap()["document"], "dG90YWwgNQ==");
        let absolute = format!("file:{}", home.path().join("secret").display());
        let refused = [
            "file:../secret",
            "file:reports/../../secret",
            &absolute,
            "file:.hidden",
            "file:reports",
            "file:none",
            "file:",
            "file:out",
            "file:up",
            "file:pipe",
        ];
        for path in refused {
            let error = upload(Some(&folder), path).await.unwrap_err();
            assert!(error.code() == "FM-MCP-FILE" && error.fields()[0].pointer == "/document", "{path}: {error}");
        }
        assert_eq!(upload(None, "file:reports/march.txt").await.unwrap_err().code(), "FM-MCP-FILE");
    }

    #[test]
    fn a_folder_that_holds_everything_is_refused() {
        for path in ["/", "/no/such/folder"] {
            assert_eq!(Folder::open(Path::new(path)).unwrap_err().code(), "FM-CONFIG-ALLOW-DIR", "{path}");
        }
        let home = std::env::home_dir().unwrap();
        assert!(Folder::open(&home).is_err() && home.parent().is_none_or(|above| Folder::open(above).is_err()));
    }
}
