//! Tests of `app_entry` on real folders.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder of its own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "hostler-entry-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = std::env::temp_dir().join(name);
        for (name, text) in files {
            let path = root.join("My App").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        let folder = root.join("My App");
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder.canonicalize().expect("it exists"))
    }

    fn find(&self, path: &str) -> Result<AppEntry, AppEntryError> {
        find_app(Path::new(path), &self.0)
    }

    fn script(&self, path: &str) -> String {
        let entry = self.find(path).expect("an app");
        let Start::Script { script, .. } = entry.start else { panic!("{entry:?}") };
        script.strip_prefix(&self.0).expect("inside").display().to_string()
    }

    fn command(&self, path: &str) -> String {
        let entry = self.find(path).expect("an app");
        let Start::Command { line } = entry.start else { panic!("{entry:?}") };
        line
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("a parent"));
    }
}

#[test]
fn main_comes_first_and_needs_no_ending() {
    let folder = Folder::new(&[
        (
            "package.json",
            r#"{"name":"@scope/shop","main":"lib/web","scripts":{"start":"node server.js"}}"#,
        ),
        ("lib/web.js", ""),
        ("server.js", ""),
    ]);
    let entry = folder.find(".").expect("an app");
    assert_eq!(entry.name, "shop");
    assert_eq!(folder.script("."), "lib/web.js");
    assert_eq!(entry.folder, folder.0);
    assert_eq!(entry.found_by, "package.json main: lib/web");
}

#[test]
fn the_start_line_keeps_its_options() {
    let folder = Folder::new(&[
        ("package.json", r#"{"scripts":{"start":"A=1 node --no-warnings src/s.mjs --blue"}}"#),
        ("src/s.mjs", ""),
    ]);
    let entry = folder.find(".").expect("an app");
    assert_eq!(entry.name, "My-App");
    let expected = Start::Script {
        script: folder.0.join("src/s.mjs"),
        node_args: vec!["--no-warnings".into()],
        args: vec!["--blue".into()],
        env: vec![("A".into(), "1".into())],
    };
    assert_eq!(entry.start, expected);
}

#[test]
fn main_and_start_on_the_same_file_keep_the_options() {
    let folder = Folder::new(&[
        ("package.json", r#"{"main":"./app.js","scripts":{"start":"node --trace-gc app"}}"#),
        ("app.js", ""),
    ]);
    let start = folder.find(".").expect("an app").start;
    assert!(matches!(start, Start::Script { node_args, .. } if node_args == ["--trace-gc"]));
}

#[test]
fn a_stale_main_falls_through() {
    // `npm init` writes `"main": "index.js"` whether or not there is such a file.
    let folder = Folder::new(&[
        ("package.json", r#"{"main":"index.js","scripts":{"start":"node server"}}"#),
        ("server.js", ""),
    ]);
    assert_eq!(folder.script("."), "server.js");
}

#[test]
fn the_usual_names_in_their_order() {
    let folder = Folder::new(&[("index.js", ""), ("app.mjs", "")]);
    assert_eq!(folder.script("."), "app.mjs");
    let folder = Folder::new(&[("package.json", r#"{"scripts":{}}"#), ("server.cjs", "")]);
    assert_eq!(folder.script("."), "server.cjs");
}

#[test]
fn a_start_line_that_is_not_node_with_a_file_is_run_as_it_is() {
    for line in
        ["next start", "npm run build && node dist", "node --watch server.js", "PORT=1 tsx app.ts"]
    {
        let package = format!(r#"{{"name":"shop","scripts":{{"start":"{line}"}}}}"#);
        let folder = Folder::new(&[("package.json", &package), ("server.js", "")]);
        assert_eq!(folder.command("."), line);
        let entry = folder.find(".").expect("an app");
        assert_eq!((&*entry.name, &*entry.found_by), ("shop", "package.json scripts.start"));
        assert_eq!(entry.folder, folder.0);
    }
    // What `require` would load is still the app, whatever else the line does before it.
    let folder = Folder::new(&[
        ("package.json", r#"{"main":"app.js","scripts":{"start":"nodemon app.js"}}"#),
        ("app.js", ""),
    ]);
    assert_eq!(folder.script("."), "app.js");
    let folder = Folder::new(&[("package.json", r#"{"scripts":{"start":" "}}"#), ("app.js", "")]);
    assert_eq!(folder.script("."), "app.js");
}

#[test]
fn a_typed_command_runs_in_the_folder() {
    let folder = Folder::new(&[("package.json", r#"{"name":"shop"}"#), ("a.js", ""), ("b/c", "")]);
    let entry = command_app("uvicorn x", Path::new("."), &folder.0).expect("good");
    assert_eq!(entry.start, Start::Command { line: "uvicorn x".into() });
    assert_eq!((&*entry.name, &*entry.found_by), ("shop", "option"));
    let entry = command_app("uvicorn x", Path::new("b"), &folder.0).expect("good");
    assert_eq!((&*entry.name, &entry.folder), ("b", &folder.0.join("b")));
    let error = |line: &str, path: &str| {
        command_app(line, Path::new(path), &folder.0).expect_err("bad").to_string()
    };
    assert!(error("x", "a.js").contains("not a script; give the folder"), "{}", error("x", "a.js"));
    assert!(error("x", "gone").contains("gone: No such file"));
    assert!(error(" ", ".").contains("it is empty"));
    // A broken package.json is nothing that a command has to care about.
    let folder = Folder::new(&[("package.json", "{oops")]);
    assert_eq!(command_app("x", Path::new("."), &folder.0).expect("good").name, "My-App");
}

#[test]
fn a_file_runs_where_the_command_was_typed() {
    let folder = Folder::new(&[("package.json", r#"{"name":"shop"}"#), ("src/deep/x.cjs", "")]);
    let entry = folder.find("src/deep/x.cjs").expect("an app");
    assert_eq!(entry.name, "shop");
    assert_eq!(entry.folder, folder.0);
    assert_eq!(folder.script("src/deep/x.cjs"), "src/deep/x.cjs");
}

#[test]
fn the_error_lists_what_was_looked_for() {
    let folder = Folder::new(&[(
        "package.json",
        r#"{"main":"dist/index.js","scripts":{"start":"node dist"}}"#,
    )]);
    let error = folder.find(".").expect_err("nothing there").to_string();
    for part in [
        "no app to start in .",
        "package.json main: dist/index.js (no such file)",
        "scripts.start: node dist (no such file)",
        "server.js, ",
        "hostler run ./FILE.js",
        "hostler run . --command",
    ] {
        assert!(error.contains(part), "{part:?} is missing in: {error}");
    }
    let empty = Folder::new(&[]);
    let error = empty.find(".").expect_err("nothing there").to_string();
    assert!(error.contains("package.json (no such file)"), "{error}");
}

#[test]
fn wrong_paths_say_what_is_expected() {
    let folder = Folder::new(&[("package.json", "{oops"), ("a.txt", ""), ("b.ts", "")]);
    for (path, part) in [
        ("gone", "gone: No such file or directory"),
        ("a.txt", "not a JavaScript file"),
        ("b.ts", "compile TypeScript first"),
        (".", "package.json: key must be a string"),
    ] {
        let error = folder.find(path).expect_err(path).to_string();
        assert!(error.contains(part), "{path}: {error}");
    }
}

#[test]
fn names_are_safe_in_file_names() {
    for (package, folder, name) in [
        (Some("@acme/web-shop"), "/srv/x", "web-shop"),
        (Some("../../etc"), "/srv/x", "etc"),
        (Some("@a/.."), "/srv/x", "x"),
        (Some("süß"), "/srv/x", "s"),
        (None, "/srv/My Shop", "My-Shop"),
        (None, "/", "app"),
        (Some("aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"), "/", "aaaaaaaaaabbbbbbbbbbccccccccccdd"),
    ] {
        assert_eq!(app_name(package, Path::new(folder)), name);
    }
}

#[test]
fn a_release_behind_a_link_keeps_the_name_of_the_app() {
    let folder = Folder::new(&[("shop/releases/42/server.js", "")]);
    let root = folder.0.join("shop");
    for link in ["current", "live"] {
        std::os::unix::fs::symlink(root.join("releases/42"), root.join(link)).expect("linked");
    }
    let name = |path| folder.find(path).expect("an app").name;
    assert_eq!(name("shop/current"), "shop");
    assert_eq!(name("shop/live"), "live");
    assert_eq!(name("shop/releases/42"), "42");
}
