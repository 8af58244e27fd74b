//! `--allow-dir`: a call names a file of the folder in place of its content.

use serde_json::Value;

use super::{run, stderr, stdout};

#[test]
fn a_file_of_the_allowed_folder_is_uploaded_and_imported_by_its_path() {
    let home = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("letter.txt"), "Dear team, the shelves have arrived damaged.").unwrap();
    std::fs::write(folder.path().join("leads.csv"), "id,name\n1,Acme\n2,Globex\n").unwrap();
    let allowed = folder.path().to_str().unwrap();
    let call = |arguments: &[&str]| run(home.path(), &[&["--allow-dir", allowed, "call", "--yes"], arguments].concat());

    let uploaded = call(&["documents_upload", "document=file:letter.txt", "documentType=letter"]);
    assert!(uploaded.status.success(), "{}", stderr(&uploaded));
    let found = call(&["documents_search", "query=shelves"]);
    let found: Value = serde_json::from_str(&stdout(&found)).unwrap();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found:#}");

    let source = r#"sourceConfig={"content":"file:leads.csv"}"#;
    let import = call(&["ingest_jobs_create", "sourceType=csv", source, "destination=internal-data-hub", "entityType=lead"]);
    assert!(import.status.success(), "{}", stderr(&import));

    for (path, told) in [("file:../letter.txt", "leads out"), ("file:none.txt", "there is not"), ("file:/etc/passwd", "from the folder on")]
    {
        let refused = call(&["documents_upload", &format!("document={path}")]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains("FM-MCP-FILE") && stderr(&refused).contains(told), "{path}: {}", stderr(&refused));
    }
    let nowhere = run(home.path(), &["call", "documents_upload", "document=file:letter.txt"]);
    assert!(stderr(&nowhere).contains("--allow-dir"), "{}", stderr(&nowhere));
    let served = run(home.path(), &["--allow-dir", allowed, "serve", "--http", "127.0.0.1:0"]);
    assert!(!served.status.success() && stderr(&served).contains("FM-CONFIG-ALLOW-DIR"), "{}", stderr(&served));
}
