//! The `scripts.start` line of a package.json, when it is `[NAME=value ...] node [options] FILE [args]`.
//!
//! Owns: splitting that line as a shell would and telling Node's own options from the file. Must never know:
//! the file system, and shells: a line that needs one is refused, not interpreted; the shell itself runs it then. Used by
//! `app_entry`.

/// A start line that Hostler can run itself, without npm and without a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StartLine {
    /// Variables set in front of `node`.
    pub(crate) env: Vec<(String, String)>,
    /// Options for Node itself.
    pub(crate) node_args: Vec<String>,
    /// The script as written.
    pub(crate) file: String,
    /// Arguments behind the script.
    pub(crate) args: Vec<String>,
}

/// Why a start line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartLineError {
    #[error("it needs a shell")]
    NeedsShell,
    #[error("it does not start `node FILE`")]
    NotNode,
    #[error("its Node option runs no file, or runs it in a process of its own")]
    NoFile,
}

/// Node options that take the next word as their value when they are written without `=`.
const OPTIONS_WITH_VALUE: [&str; 12] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--env-file-if-exists",
    "--title",
    "--icu-data-dir",
    "--openssl-config",
];

/// Node options with which no file is served by the started process.
const OPTIONS_WITHOUT_FILE: [&str; 12] = [
    "-e",
    "--eval",
    "-p",
    "--print",
    "-pe",
    "-c",
    "--check",
    "-i",
    "--interactive",
    "--test",
    "--watch",
    "--run",
];

/// Reads a start line.
pub(crate) fn parse_start_line(line: &str) -> Result<StartLine, StartLineError> {
    let mut words = split_words(line)?.into_iter().peekable();
    let mut start = StartLine::default();
    while let Some((name, value)) = words.peek().and_then(|word| as_assignment(word)) {
        start.env.push((name.to_owned(), value.to_owned()));
        words.next();
    }
    if words.next().as_deref() != Some("node") {
        return Err(StartLineError::NotNode);
    }
    while let Some(word) = words.next() {
        if word == "--" {
            start.file = words.next().ok_or(StartLineError::NoFile)?;
            start.args = words.collect();
            return Ok(start);
        }
        if !word.starts_with('-') {
            start.file = word;
            start.args = words.collect();
            return Ok(start);
        }
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if OPTIONS_WITHOUT_FILE.contains(&name) || name.starts_with("--watch-") {
            return Err(StartLineError::NoFile);
        }
        let takes_next = OPTIONS_WITH_VALUE.contains(&word.as_str());
        start.node_args.push(word);
        if takes_next {
            start.node_args.push(words.next().ok_or(StartLineError::NoFile)?);
        }
    }
    Err(StartLineError::NoFile)
}

/// `NAME=value` with a name a shell would accept.
fn as_assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let mut letters = name.chars();
    let first = letters.next()?;
    let fits = (first.is_ascii_alphabetic() || first == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then_some((name, value))
}

/// Words as a shell splits them, quotes and backslashes resolved. Whatever a shell would expand, redirect
/// or join is refused.
fn split_words(line: &str) -> Result<Vec<String>, StartLineError> {
    const SPECIAL: &str = "|&;<>()$`*?[]{}~#!\n";
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let quoted = word.get_or_insert_default();
                take_quoted(&mut letters, '\'', quoted)?;
            }
            '"' => {
                let quoted = word.get_or_insert_default();
                take_quoted(&mut letters, '"', quoted)?;
            }
            '\\' => {
                let next = letters.next().ok_or(StartLineError::NeedsShell)?;
                word.get_or_insert_default().push(next);
            }
            _ if SPECIAL.contains(letter) => return Err(StartLineError::NeedsShell),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

fn take_quoted(
    letters: &mut std::str::Chars<'_>,
    quote: char,
    word: &mut String,
) -> Result<(), StartLineError> {
    while let Some(letter) = letters.next() {
        match letter {
            _ if letter == quote => return Ok(()),
            '$' | '`' if quote == '"' => return Err(StartLineError::NeedsShell),
            '\\' if quote == '"' => {
                word.push(letters.next().ok_or(StartLineError::NeedsShell)?);
            }
            _ => word.push(letter),
        }
    }
    Err(StartLineError::NeedsShell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(line: &str) -> StartLine {
        parse_start_line(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn plain() {
        let start = good("node server.js");
        assert_eq!(start, StartLine { file: "server.js".into(), ..StartLine::default() });
    }

    #[test]
    fn options_arguments_and_variables_are_kept_apart() {
        let start = good(
            "NODE_ENV=production _X='a b' node -r dotenv/config --max-old-space-size=512 --import ./a.mjs \
             src/index.js --port 80 \"two words\"",
        );
        assert_eq!(
            start.env,
            [("NODE_ENV".into(), "production".into()), ("_X".into(), "a b".into())]
        );
        assert_eq!(
            start.node_args,
            ["-r", "dotenv/config", "--max-old-space-size=512", "--import", "./a.mjs"]
        );
        assert_eq!(start.file, "src/index.js");
        assert_eq!(start.args, ["--port", "80", "two words"]);
    }

    #[test]
    fn an_option_with_an_equals_sign_takes_no_further_word() {
        let start = good("node --env-file=.env --no-warnings -- app.js -x");
        assert_eq!(start.node_args, ["--env-file=.env", "--no-warnings"]);
        assert_eq!(start.file, "app.js");
        assert_eq!(start.args, ["-x"]);
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        for line in [
            "npm run build && node server.js",
            "node server.js > log",
            "node $FILE",
            "node \"$FILE\"",
            "node `cat x`",
            "node 'open",
            "node *.js",
            "node a\\",
        ] {
            assert_eq!(parse_start_line(line), Err(StartLineError::NeedsShell), "{line}");
        }
    }

    #[test]
    fn what_is_not_node_or_runs_no_file_is_refused() {
        for line in ["", "next start", "A=b", "nodemon server.js", "cross-env A=b node x.js"] {
            assert_eq!(parse_start_line(line), Err(StartLineError::NotNode), "{line}");
        }
        for line in
            ["node", "node -e 1", "node --watch server.js", "node --test", "node -r x", "node --"]
        {
            assert_eq!(parse_start_line(line), Err(StartLineError::NoFile), "{line}");
        }
    }
}
