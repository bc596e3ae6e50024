//! Tests of `config show`: what it prints is a file that means the same.

use super::*;
use crate::settings::Source;
use crate::settings::file_tests::{FULL, Folder};

/// Everything that an instance depends on.
fn effect(settings: &Settings) -> String {
    let config = crate::instance::supervisor_config(settings, std::path::Path::new("/hostler"));
    format!("{config:#?}")
}

#[test]
fn what_is_shown_can_be_saved() {
    let folder = Folder::new(&[
        ("a/hostler.toml", &FULL.replace("bin/node", "/bin/sh")),
        ("a/app/main.js", ""),
        ("b/package.json", r#"{"scripts":{"start":"X=1 node --no-warnings s.js --one"}}"#),
        ("b/s.js", ""),
        ("c/hostler.toml", "[[app]]\ncommand = 'a \"$PORT\" ${X} $$ \\ ü'\nargs = [\"it's\"]"),
        ("d/it's $HOME/server.js", ""),
        ("saved/keep", ""),
    ]);
    for options in [
        &["a"][..],
        &["a", "--workers", "1", "--", "x", "$y"][..],
        &["b"][..],
        &["b/s.js", "--idle-timeout", "5m", "--max-body-size", "800", "--pin", "on"][..],
        &["c"][..],
        &["d/it's $HOME", "--access-log", "-", "--max-body-size", "none"][..],
        &["b", "--command", "echo ${A}", "--listen", "unix:/tmp/$x"][..],
    ] {
        let env = [("PORT", "81"), ("SECRET", "secret value")];
        let settings = folder.read(&env, options).expect("good");
        let shown = file_of(&settings);
        assert!(!shown.contains("secret value"), "variables stay variables: {shown}");
        folder.write("saved/hostler.toml", &shown);
        let saved = folder.read(&env[1..], &["-c", "saved/hostler.toml"]);
        let saved = saved.unwrap_or_else(|error| panic!("{options:?}: {error}\n{shown}"));
        assert_eq!(effect(&saved), effect(&settings), "{options:?}\n{shown}");
        let strip = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| line.split("  # ").next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(strip(&file_of(&saved)), strip(&shown), "{options:?}");
    }
}

/// The comments are true, too: uncommented they change nothing but who is said to have chosen.
#[test]
fn comments_are_keys_with_their_defaults() {
    let folder = Folder::new(&[("server.js", "")]);
    let settings = folder.read(&[], &[]).expect("good");
    let shown = file_of(&settings);
    let lines = shown.lines().filter(|line| !line.contains("is not set")).skip(1);
    let bare: Vec<&str> = lines.map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    folder.write("all.toml", &bare.join("\n"));
    let all = folder.read(&[], &["-c", "all.toml"]).expect("good");
    let same = |settings: &Settings| -> Vec<(String, Value)> {
        rows(settings).into_iter().map(|row| (row.key, row.value)).collect()
    };
    assert_eq!(same(&all), same(&settings));
    assert!(
        all.times.idle_ms_max.source.is_chosen() && !settings.times.idle_ms_max.source.is_chosen()
    );
}

/// A key that was added to the file is shown, too.
#[test]
fn every_key_is_shown() {
    let folder = Folder::new(&[("hostler.toml", "[[app]]\nenv.A = 1"), ("server.js", "")]);
    let command = folder.read(&[], &["--command", "x"]).expect("good");
    let script = folder.read(&[], &[]).expect("good");
    let shown = format!("{}{}", file_of(&script), file_of(&command));
    let schema = serde_json::to_value(schema()).expect("JSON");
    let of = |part: &serde_json::Value| -> Vec<String> {
        part["properties"].as_object().expect("an object").keys().cloned().collect()
    };
    let keys = [of(&schema["properties"]["server"]), of(&schema["properties"]["app"]["items"])];
    for key in keys.concat() {
        let is_line = |line: &str| {
            let line = line.trim_start_matches("# ");
            line.strip_prefix(&key).is_some_and(|rest| rest.starts_with([' ', '.']))
        };
        assert!(shown.lines().any(is_line), "no {key} in {shown}");
    }
}

#[test]
fn the_page_tells_the_true_defaults() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let folder = Folder::new(&[("server.js", "")]);
    let settings = folder.read(&[], &[]).expect("good");
    let mut compared = 0;
    for row in rows(&settings).iter().filter(|row| row.source == Source::Default) {
        let told = page.lines().find(|line| line.starts_with(&format!("| `{}` |", row.key)));
        let told = told.unwrap_or_else(|| panic!("no row for {}", row.key));
        // `listen`, paths and what follows from the machine are told in words.
        let default = told.split(" | ").nth(2).unwrap_or_default();
        if default.starts_with('`')
            && !matches!(row.key.as_str(), "listen" | "path" | "runtime_dir")
        {
            assert!(default.starts_with(&format!("`{}`", row.value.toml())), "{told}");
            compared += 1;
        }
    }
    assert!(compared >= 14, "only {compared} were compared");
}
