//! Where functions begin and end, in formatted Rust and JavaScript.
//!
//! Owns: the reading by indentation. rustfmt and the loader's style put the closing brace of a function at the
//! indentation of its first line; that is all this needs to know.

/// A function: its first line (1-based) and its number of lines that are code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) line: usize,
    pub(crate) code_lines: usize,
}

/// All functions with a body of their own lines.
pub(crate) fn functions(text: &str, rust: bool) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if !begins_function(line.trim_start(), rust) {
            continue;
        }
        let indent = indent_of(line);
        let body = &lines[index + 1..];
        let Some(end) = body
            .iter()
            .position(|line| indent_of(line) == indent && line.trim_start().starts_with('}'))
        else {
            continue;
        };
        // A declaration without a body ends before the next line of the same depth.
        if body[..end].iter().any(|line| indent_of(line) < indent && !line.trim().is_empty()) {
            continue;
        }
        let code_lines = body[..end].iter().filter(|line| is_code(line)).count();
        found.push(Function { line: index + 1, code_lines });
    }
    found
}

fn begins_function(line: &str, rust: bool) -> bool {
    if rust {
        let mut words = line.split(['(', '<', ' ']);
        return words.any(|word| word == "fn") && !line.starts_with("//") && !line.ends_with(';');
    }
    line.starts_with("function ") || line.starts_with("async function ")
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//") && !line.starts_with("/*") && !line.starts_with('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_code_and_not_comments() {
        let text = "impl X {\n    fn a(&self) {\n        one();\n\n        // why\n        two();\n    }\n\n    fn b();\n}\n";
        assert_eq!(functions(text, true), [Function { line: 2, code_lines: 2 }]);
        let text = "function f() {\n  a();\n  b();\n}\n";
        assert_eq!(functions(text, false), [Function { line: 1, code_lines: 2 }]);
    }
}
