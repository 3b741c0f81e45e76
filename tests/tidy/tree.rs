//! The files of the repository as the rules see them. Nothing here is a rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Never part of the repository, wherever they are.
const LEFT_OUT: [&str; 4] = [".git", "target", "data", "__pycache__"];

/// A text file.
pub struct File {
    /// From the top of the repository, with `/`.
    pub path: String,
    pub text: String,
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
});

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every text file, by path.
pub fn files() -> &'static [File] {
    &FILES
}

/// The Rust files below a folder.
pub fn rust_files(below: &str) -> impl Iterator<Item = &'static File> {
    files().iter().filter(move |file| file.path.starts_with(below) && file.path.ends_with(".rs"))
}

/// The Markdown files.
pub fn documents() -> impl Iterator<Item = &'static File> {
    files().iter().filter(|file| file.path.ends_with(".md"))
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(&path, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            files.push(File { path, text });
        }
    }
}

impl File {
    /// The part before the unit tests, without comment lines: what ships. Empty for files that
    /// are tests as a whole. Lines keep their numbers.
    pub fn shipped(&self) -> Vec<(usize, &str)> {
        if is_test(&self.path) {
            return Vec::new();
        }
        let lines = self.text.lines().enumerate().take(self.lines_before_tests());
        lines
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(at, line)| (at + 1, line))
            .collect()
    }

    /// How many lines stand before the module with the unit tests.
    pub fn lines_before_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]"
                && pair[1].contains("mod ")
                && pair[1].trim_end().ends_with('{')
        });
        tests.unwrap_or(lines.len())
    }
}

/// Whether a file is tests as a whole: by its folder, or because it is a module for tests only.
fn is_test(path: &str) -> bool {
    static MODULES: LazyLock<BTreeSet<String>> = LazyLock::new(test_modules);
    path.starts_with("tests/") || path.contains("/tests/") || MODULES.contains(path)
}

/// The files of `#[cfg(test)] mod name;`, also where other crates' tests use them.
fn test_modules() -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for file in rust_files("crates/") {
        let (folder, name) = file.path.rsplit_once('/').unwrap();
        let stem = name.trim_end_matches(".rs");
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        let is_for_tests =
            |line: &str| matches!(line, "#[cfg(test)]" | "#[cfg(any(test, feature = \"canned\"))]");
        for pair in lines.windows(2).filter(|pair| is_for_tests(pair[0])) {
            let Some((_, module)) = pair[1].strip_suffix(';').and_then(|l| l.split_once("mod "))
            else {
                continue;
            };
            let below = match stem {
                "lib" | "main" | "mod" => folder.to_owned(),
                stem => format!("{folder}/{stem}"),
            };
            modules.insert(format!("{below}/{module}.rs"));
        }
    }
    modules
}
