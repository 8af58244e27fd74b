//! Reads the sources and holds the modules to the table of who may use whom.

mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crate's root and its binary; like `cli` they may use everything.
const ROOTS: [&str; 2] = ["lib", "main"];

/// ARCHITECTURE.md's table: each module and what it may use; `None` is everything.
fn table() -> BTreeMap<String, Option<BTreeSet<String>>> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| module |")).skip(2).take_while(|line| line.starts_with('|'));
    let table: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            let [module, .., may_use] = cells.as_slice() else { panic!("a row of the table of modules is `{row}`") };
            let may_use = (may_use.trim() != "everything").then(|| quoted_names(may_use));
            (quoted_names(module).pop_first().unwrap(), may_use)
        })
        .collect();
    assert_eq!(table.len(), 11, "the table of modules in ARCHITECTURE.md has eleven rows");
    table
}

/// The names between back quotes.
fn quoted_names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

/// Every Rust file below `src`, with the top module it belongs to.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(files.len() > 20, "only {} sources were found", files.len());
    files
        .into_iter()
        .map(|path| {
            let inner = path.strip_prefix(&root).unwrap().to_path_buf();
            let first = inner.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.strip_suffix(".rs").unwrap_or(first).to_owned();
            Source { text: fs::read_to_string(&path).unwrap(), path: inner, module }
        })
        .collect()
}

pub fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The source without comments, text and characters in quotes, so that only code is read.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_text(rest) {
            length
        } else if first == '"' {
            quoted(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// The length of raw text such as `r#"…"#` at the start.
fn raw_text(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)?;
    Some(rest.len() - body.len() + end + close.len())
}

/// The length of quoted text at the start.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character such as `'"'` at the start; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let mut characters = inner.char_indices();
    let (_, first) = characters.next()?;
    if first == '\\' {
        return inner.char_indices().skip(2).find(|(_, c)| *c == '\'').map(|(index, _)| index + 2);
    }
    characters.next().filter(|(_, c)| *c == '\'').map(|(index, _)| index + 2)
}

/// The modules of this crate that a source names after `crate::` or, from the binary, after the crate's name.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for root in ["crate::", "flowmaster_mcp::"] {
        for (at, _) in code.match_indices(root) {
            let named_whole = code[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_');
            if !named_whole {
                continue;
            }
            let after = &code[at + root.len()..];
            if let Some(group) = after.strip_prefix('{') {
                heads_of_group(group, &mut used);
            } else {
                used.insert(word(after));
            }
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

/// The first word of each member of `{a::{b, c}, d}`.
fn heads_of_group(group: &str, used: &mut BTreeSet<String>) {
    let mut depth = 1;
    let mut head = true;
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => head = true,
            c if head && depth == 1 && !c.is_whitespace() => {
                used.insert(word(&group[index..]));
                head = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for source in sources() {
        let module = source.module.as_str();
        if ROOTS.contains(&module) {
            continue;
        }
        let Some(allowed) = table.get(module) else {
            wrong.push(format!("{}: the module `{module}` is not in the table", source.path.display()));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for used in used_modules(&code_of(&source.text)) {
            // What is not a module, such as a macro of the root, is not the table's business.
            if table.contains_key(&used) && used != module && !allowed.contains(&used) {
                wrong.push(format!("{}: `{module}` uses `{used}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the table of modules:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_lets_nobody_but_the_command_line_know_both_sides() {
    let table = table();
    for (module, allowed) in &table {
        match allowed {
            None => assert_eq!(module, "cli", "only the command line may use everything"),
            Some(allowed) => assert!(!allowed.contains("platform") && !allowed.contains("cli"), "{module} may use {allowed:?}"),
        }
    }
    let platform = table["platform"].as_ref().unwrap();
    assert!(!platform.contains("client") && !platform.contains("server"), "the platform knows none of its callers");
    assert!(table["api"].as_ref().unwrap().is_empty(), "the contract uses nothing of ours");
}

#[test]
fn the_reader_sees_nested_braces_and_inline_paths() {
    let code = code_of(
        "//! crate::cli is only talked about\nuse crate::{api::{Problem, wire}, error::Error,\n client};\nfn f() { crate::server::serve(\"crate::platform\", '\"', r#\"crate::config\"#) }\nuse othercrate::telemetry;",
    );
    assert_eq!(used_modules(&code).into_iter().collect::<Vec<_>>(), ["api", "client", "error", "server"]);
}

#[test]
fn every_file_opens_with_a_sentence_and_none_is_called_mod() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = Vec::new();
    rust_files(&tests, &mut files);
    let tests = files.into_iter().map(|path| (fs::read_to_string(&path).unwrap(), path));
    for (text, path) in sources().into_iter().map(|source| (source.text, source.path)).chain(tests) {
        let shown = path.display();
        assert!(!path.ends_with("mod.rs"), "{shown}: a module's file is beside its folder");
        let first = text.lines().next().unwrap_or_default();
        // The crate's root shows ARCHITECTURE.md instead.
        let opens = first.starts_with("//! ") || first.starts_with("#![doc = include_str!(");
        assert!(opens && first.len() > 12, "{shown}: opens with `{first}`, not with a sentence");
    }
}

#[test]
fn no_test_is_ignored_without_a_reason_and_no_lint_allowed_without_one() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files = Vec::new();
    rust_files(&tests, &mut files);
    let tests = files.into_iter().map(|path| (code_of(&fs::read_to_string(&path).unwrap()), path));
    for (code, path) in sources().into_iter().map(|source| (code_of(&source.text), source.path)).chain(tests) {
        let shown = path.display();
        assert!(!code.contains("#[ignore]"), "{shown}: a test is ignored without a reason");
        assert!(!code.contains("#[allow("), "{shown}: a lint is allowed where `expect` with a reason would do");
        for word in ["todo!(", "unimplemented!(", "dbg!("] {
            assert!(!code.contains(word), "{shown}: `{word}…)` is not an answer");
        }
    }
}

#[test]
fn the_pages_at_the_root_say_nothing_of_a_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["README.md", "ARCHITECTURE.md", "mcp.json", "deny.toml", "Cargo.toml"] {
        let Ok(text) = fs::read_to_string(root.join(name)) else { continue };
        for path in ["/root/", "/home/", "/Users/"] {
            assert!(!text.contains(path), "{name} names the path {path}");
        }
    }
}
