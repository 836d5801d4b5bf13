//! The layers of ARCHITECTURE.md: a file uses only what stands below it, and system calls stay in one folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest: what has a folder or a file of its own in `src`, and what it uses of the others.
const LAYERS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("sync", &["sys"]),
    ("segment", &["sync", "sys"]),
    ("layout", &["segment", "sync", "sys"]),
    ("protocol", &["sys"]),
    ("plain", &["protocol"]),
    ("encoded", &["layout", "protocol"]),
    ("raw", &["layout", "plain", "protocol", "segment", "sync", "sys"]),
    ("queues", &["encoded", "layout", "protocol", "raw"]),
    ("channel", &["encoded", "protocol", "raw"]),
    ("connection", &["encoded", "protocol", "raw"]),
    ("synchronize", &["plain", "raw"]),
    ("sharedctypes", &["plain", "raw", "synchronize"]),
    ("shared_memory", &["raw", "sys"]),
    ("ending", &["sys"]),
    ("thread", &["ending", "sys"]),
    ("launch", &["ending", "protocol", "queues", "raw", "sys", "thread"]),
    ("process", &["ending", "launch", "protocol", "sys"]),
    ("timer", &["launch", "process"]),
    ("context", &["launch", "process"]),
    ("command", &["launch", "process", "protocol", "sys"]),
    ("select", &["channel", "connection", "process", "protocol", "queues", "raw", "sync", "sys"]),
    ("asynchronous", &["channel", "connection", "protocol", "queues", "raw", "sys"]),
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

/// The files of a layer: a folder, a file, or both.
fn files_of(layer: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if source().join(layer).is_dir() {
        files.extend(rust_files(&source().join(layer)));
    }
    files.extend(Some(source().join(format!("{layer}.rs"))).filter(|file| file.is_file()));
    files
}

fn is_module(name: &str) -> bool {
    !files_of(name).is_empty()
}

#[test]
fn no_file_uses_a_layer_above_its_own() {
    for (layer, below) in LAYERS {
        let mut used = BTreeSet::new();
        for path in files_of(layer) {
            for module in used_modules(&code(&path)) {
                if !is_module(&module) || module == *layer || EVERYWHERE.contains(&&*module) {
                    continue;
                }
                assert!(
                    below.contains(&&*module),
                    "{} uses `crate::{module}`, which is not among what `{layer}` uses",
                    path.display()
                );
                used.insert(module);
            }
        }
        for module in *below {
            assert!(used.contains(*module), "`{layer}` does not use `{module}` any more");
        }
    }
}

#[test]
fn layers_use_what_is_below_them() {
    let order: Vec<&str> = LAYERS.iter().map(|(layer, _)| *layer).collect();
    for (index, (layer, below)) in LAYERS.iter().enumerate() {
        for module in *below {
            assert!(order[..index].contains(module), "`{layer}` uses `{module}`");
        }
    }
}

#[test]
fn every_module_is_a_layer() {
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let known = LAYERS.iter().any(|(layer, _)| *layer == name);
        assert!(known || name == "lib" || EVERYWHERE.contains(&name), "`{name}` is no layer");
    }
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
