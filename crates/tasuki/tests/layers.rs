//! The layers of ARCHITECTURE.md: a file uses only what stands below it, and system calls stay in one folder.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest; what has no folder here is the front, which may use everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("sync", &["sys"]),
    ("segment", &["sync", "sys"]),
    ("layout", &["segment", "sync", "sys"]),
    ("protocol", &["sync", "sys"]),
];

/// Stands beside the layers: a plain type that each may return.
const EVERYWHERE: &[&str] = &["error"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The code of a file without its comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The modules named after `crate::`, in grouped imports as well.
fn used_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            None => vec![rest],
            Some(group) => group.split(['}', ';']).next().unwrap().split(',').collect(),
        };
        for name in names {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let name: String = name.trim().chars().take_while(|&c| is_name(c)).collect();
            modules.push(name);
        }
    }
    modules
}

#[test]
fn no_file_uses_a_layer_above_its_own() {
    let mut seen = 0;
    for (layer, below) in LAYERS {
        for path in rust_files(&source().join(layer)) {
            for module in used_modules(&code(&path)) {
                let is_module = source().join(&module).is_dir()
                    || source().join(format!("{module}.rs")).is_file();
                let allowed = module == *layer
                    || below.contains(&module.as_str())
                    || EVERYWHERE.contains(&module.as_str());
                assert!(
                    !is_module || allowed,
                    "{} uses `crate::{module}`, which stands above or beside `{layer}`",
                    path.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "the test found only {seen} uses: it no longer reads the sources");
}

#[test]
fn only_the_folder_sys_makes_system_calls() {
    for path in rust_files(&source()) {
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.starts_with(source().join("sys")) || is_test {
            continue;
        }
        let code = code(&path);
        for word in ["rustix::", "libc::", "target_os"] {
            assert!(!code.contains(word), "{} says `{word}` outside sys", path.display());
        }
    }
}

#[test]
fn unsafe_code_is_allowed_file_by_file_with_a_reason() {
    let root = fs::read_to_string(source().join("lib.rs")).unwrap();
    assert!(root.contains("#![deny(unsafe_code)]"));
    for path in rust_files(&source()) {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.contains("allow(unsafe_code)")) {
            assert!(line.contains("// "), "{} allows unsafe code without a reason", path.display());
        }
    }
}
