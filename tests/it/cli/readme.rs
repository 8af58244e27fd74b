//! The README's examples, run as they stand on a fresh folder.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output};

use crate::support::program::program;

const README: &str = include_str!("../../../README.md");

/// What the fenced blocks of a language hold.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(found), false) if found == language => {
                inside = true;
                blocks.push(String::new());
            }
            (Some(_), _) => inside = false,
            (None, true) => {
                if let Some(block) = blocks.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    blocks
}

/// Runs a line by the shell, in which the program is found by its name.
fn shell(home: &Path, line: &str) -> Output {
    let program = program(home);
    let folder = Path::new(program.get_program()).parent().unwrap().to_owned();
    let mut shell = Command::new("sh");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap()))).unwrap();
    shell.env("PATH", path).args(["-c", line]).stdin(std::process::Stdio::null()).output().unwrap()
}

/// Whether a line ends by itself, without a person, another program or a network.
fn is_runnable(line: &str) -> bool {
    let needs_more = ["serve", "flowmaster-mcp platform", "login", "logout", "tour", "https://", "claude ", "cargo "];
    line.contains("flowmaster-mcp ") && !line.starts_with('#') && !needs_more.iter().any(|part| line.contains(part))
}

fn succeeds(home: &Path, line: &str) -> String {
    let output = shell(home, line);
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}\n{said}{told}");
    said.into_owned()
}

#[test]
fn every_example_line_works_in_its_order_on_a_fresh_folder() {
    let home = tempfile::tempdir().unwrap();
    let lines: Vec<String> = blocks("sh").iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let runnable: Vec<&String> = lines.iter().filter(|line| is_runnable(line)).collect();
    assert!(runnable.len() >= 4, "{runnable:?}");
    for line in runnable {
        succeeds(home.path(), line);
    }
}

#[test]
fn every_command_in_the_text_works_on_a_fresh_folder() {
    let home = tempfile::tempdir().unwrap();
    let prose: String = README.split("```").step_by(2).collect();
    let has_placeholder =
        |span: &str| span.split(' ').any(|word| word.contains(['[', '.', '<']) || word.len() > 1 && word.to_uppercase() == word);
    let mut ran = 0;
    for span in prose.split('`').skip(1).step_by(2) {
        if span.starts_with("flowmaster-mcp ") && is_runnable(span) && !has_placeholder(span) {
            succeeds(home.path(), span);
            ran += 1;
        }
    }
    assert!(ran >= 3, "{ran}");
}

#[test]
fn the_table_of_commands_names_options_that_there_are() {
    let home = tempfile::tempdir().unwrap();
    let (_, table) = README.split_once("| command | what it does |").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 12, "{}", rows.len());
    for row in rows {
        let spans: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let words: Vec<&str> = spans[0].split(' ').take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).collect();
        let help = succeeds(home.path(), &format!("flowmaster-mcp {} --help", words.join(" ")));
        for option in spans.iter().flat_map(|span| span.split(' ')).filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{row}: {option}");
        }
    }
}

#[test]
fn every_configuration_in_the_text_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    let blocks = blocks("toml");
    assert!(blocks.len() >= 4, "{}", blocks.len());
    for block in blocks {
        let file = home.path().join("example.toml");
        std::fs::write(&file, &block).unwrap();
        // Without a login at a platform elsewhere every tool is listed, and nothing is asked for.
        succeeds(home.path(), &format!("flowmaster-mcp tools --all --json --config {}", file.display()));
    }
}
