//! `cargo xtask tidy`: rules of this code base that clippy does not know.
//!
//! Owns: walking the files and the report. Must never know: a single rule; they are in `tidy_rules`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::run::root;
use crate::tidy_rules::{Source, check_file, check_manifest};

/// How much a complaint weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Ends the run with a failure.
    Error,
    /// Is shown.
    Warning,
}

/// One thing that is not as it should be.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) weight: Weight,
    /// 1-based; 0 for the file as a whole.
    pub(crate) line: usize,
    pub(crate) text: String,
}

const SKIPPED_FOLDERS: [&str; 6] =
    ["target", "node_modules", ".git", "corpus", "artifacts", "vectors"];
const EXTENSIONS: [&str; 8] = ["rs", "cjs", "mjs", "js", "md", "toml", "sh", "json"];

/// Checks every file of the repository.
pub(crate) fn tidy() -> Outcome {
    let root = root();
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let (mut errors, mut warnings) = (0, 0);
    for path in &files {
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
        let source = Source::new(&name, &text);
        let mut complaints = check_file(&source);
        if name.ends_with("Cargo.toml") {
            complaints.extend(check_manifest(&source));
        }
        for complaint in complaints {
            let kind = match complaint.weight {
                Weight::Error => "error",
                Weight::Warning => "warning",
            };
            eprintln!("{kind}: {name}:{}: {}", complaint.line, complaint.text);
            match complaint.weight {
                Weight::Error => errors += 1,
                Weight::Warning => warnings += 1,
            }
        }
    }
    eprintln!("tidy: {} files, {errors} errors, {warnings} warnings", files.len());
    if errors == 0 { Ok(()) } else { Err(format!("{errors} errors")) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && !SKIPPED_FOLDERS.contains(&&*name) {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end == *known)) {
            files.push(path);
        }
    }
}
