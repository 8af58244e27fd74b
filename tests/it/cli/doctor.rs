//! `doctor`: the settings in force, and every fault of a configuration that no other command works with.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::home::stdout;
use crate::support::program::program;

fn doctor(home: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    program(home).arg("doctor").args(arguments).envs(settings.iter().copied()).output().unwrap()
}

fn report(home: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, Value) {
    let output = doctor(home, &[arguments, &["--json"]].concat(), settings);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}")))
}

#[test]
fn values_in_force_are_shown_with_their_origin() {
    let home = tempfile::tempdir().unwrap();
    let settings = [("FLOWMASTER_CALL_TIMEOUT", "30"), ("FLOWMASTER_AUTH_SECRET", "a secret of thirty-two bytes and more")];
    let (_, set) = report(home.path(), &["--tenant", "tenant-local"], &settings);
    assert_eq!(
        set["settings"],
        json!({
            "tenant": { "value": "tenant-local", "source": "flag" },
            "call.timeout": { "value": 30, "source": "environment" },
            "auth.secret": { "value": "set, not shown", "source": "environment" },
        })
    );
    assert!(!set.to_string().contains("thirty-two"), "{set}");
    let (_, all) = report(home.path(), &["--all"], &settings);
    assert_eq!(all["settings"]["confirm.timeout"], json!({ "value": 300, "source": "default" }));
    assert_eq!(all["settings"]["call.timeout"], json!({ "value": 30, "source": "environment" }));

    let short = stdout(&doctor(home.path(), &[], &settings));
    assert!(short.contains("call.timeout") && !short.contains("confirm.timeout"), "{short}");
    let text = stdout(&doctor(home.path(), &["--all"], &settings));
    let rows: Vec<&str> = text.lines().filter(|line| line.contains(" FLOWMASTER_") && line.starts_with("  ")).collect();
    let columns: Vec<_> = rows
        .iter()
        .filter(|line| line.contains(" default ") || line.contains(" environment "))
        .map(|line| (line.find(" FLOWMASTER_"), line.find(" default ").or_else(|| line.find(" environment "))))
        .collect();
    assert!(columns.len() > 30 && columns.iter().all(|column| *column == columns[0]), "the settings stand in columns: {text}");
}

#[test]
fn every_fault_of_a_broken_configuration_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    std::fs::write(
        &file,
        "tenat = 'x'\nurl = 'ftp://flowmaster.example'\n[call]\ntimeout = 'soon'\n[permissions]\nnames = { 'task:aprove' = 'x' }\n\
         [[policy]]\ntools = ['task_list']\ndecision = 'deny'\n[[policy]]\neffects = ['delete']\ndecision = 'deny'\n",
    )
    .unwrap();
    let settings = [
        ("FLOWMASTER_CONFIG", file.to_str().unwrap()),
        ("FLOWMASTER_CONFIRM", "ask"),
        ("FLOWMASTER_DATA_DIR", "data"),
        ("FLOWMASTER_LOG", "flowmaster_mcp=loud"),
        ("FLOWMASTER_REFRESH_TOKEN", "topsecret"),
        ("FLOWMASTER_AUTH_KEY_FILE", "/nowhere"),
        ("FLOWMASTER_AUTH_MODE", "first-party"),
    ];
    let (code, report) = report(home.path(), &[], &settings);
    assert_eq!((code, &report["ok"]), (Some(1), &json!(false)), "{report}");
    let bad: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["state"] == "bad")
        .map(|check| check["text"].as_str().unwrap())
        .collect();
    for part in [
        "tenat",
        "call.timeout",
        "FLOWMASTER_CONFIRM",
        "the data folder data is relative",
        "(FM-CONFIG-LOG)",
        "FM-MCP-URL",
        "task:aprove",
        "task_list",
        "delete",
        "FLOWMASTER_REFRESH_TOKEN is set without FLOWMASTER_TOKEN",
        "/nowhere",
    ] {
        assert_eq!(bad.iter().filter(|text| text.contains(part)).count(), 1, "{part}: {bad:#?}");
    }
    assert!(!report.to_string().contains("topsecret"));
    assert!(report["checks"].as_array().unwrap().iter().any(|check| check["text"].as_str().unwrap().contains("not asked")), "{report}");
    // Any other command stops at the first of them.
    assert_eq!(program(home.path()).arg("tools").envs(settings).output().unwrap().status.code(), Some(2));

    std::fs::write(&file, "url = [").unwrap();
    let text = stdout(&doctor(home.path(), &[], &[settings[0]]));
    assert!(text.contains("line 1 is not TOML") && text.contains("FM-CONFIG-FILE"), "{text}");
}
