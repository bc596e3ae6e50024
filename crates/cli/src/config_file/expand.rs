//! Variables in the strings of a configuration file: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar.
//!
//! Owns: that grammar. Must never know: which key a string belongs to. Used by `config_file`; whatever else a `$` may begin is
//! an error, because `$NAME` and a password with a dollar in it would both be guessed wrong half of the time.

/// The text with its variables in place, or why that is impossible.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let Some(inside) = behind.strip_prefix('{') else {
            return Err("a `$` begins ${NAME} or ${NAME:-default}; write $$ for a dollar".into());
        };
        let Some((reference, after)) = inside.split_once('}') else {
            return Err("the `}` of a ${NAME} is missing; write $$ for a dollar".to_owned());
        };
        expanded.push_str(&value_of(reference, env)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Whether the text names this variable, and so says itself what the variable means.
pub(crate) fn mentions(text: &str, variable: &str) -> bool {
    let unescaped = text.replace("$$", "");
    let mut parts = unescaped.split("${").skip(1);
    parts.any(|part| part.strip_prefix(variable).is_some_and(|rest| rest.starts_with(['}', ':'])))
}

fn value_of(reference: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let mut letters = name.chars();
    let good = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        return Err("in ${NAME} and ${NAME:-default} NAME is letters, digits and _".to_owned());
    }
    if default.is_some_and(|default| default.contains('$')) {
        return Err(format!("the default of ${{{name}:-...}} is plain text, without `$`"));
    }
    env(name).or_else(|| default.map(ToOwned::to_owned)).ok_or_else(|| {
        format!(
            "the variable {name} is not set or empty; set it, or write ${{{name}:-default}} (${{{name}:-}} for an \
             empty text)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "A").then(|| "1$B".to_owned())
    }

    #[test]
    fn variables_defaults_and_dollars() {
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "1$B"),
            ("x${A}y${A:-no}z", "x1$By1$Bz"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${B:-a:-b}", "a:-b"),
            ("$${A}$$", "${A}$"),
            ("ü${A}ü", "ü1$Bü"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn everything_else_says_what_to_write() {
        for (text, part) in [
            ("${B}", "the variable B is not set or empty"),
            ("$A", "write $$ for a dollar"),
            ("a$", "write $$ for a dollar"),
            ("${A", "`}` of a ${NAME} is missing"),
            ("${}", "NAME is letters"),
            ("${1A}", "NAME is letters"),
            ("${A-x}", "NAME is letters"),
            ("${B:-$A}", "plain text"),
        ] {
            let why = expand(text, &env).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn a_text_knows_its_variables() {
        for (text, is) in [
            ("0.0.0.0:${PORT}", true),
            ("${PORT:-80}", true),
            ("${PORTS}", false),
            ("$${PORT}", false),
            ("PORT", false),
        ] {
            assert_eq!(mentions(text, "PORT"), is, "{text}");
        }
    }
}
