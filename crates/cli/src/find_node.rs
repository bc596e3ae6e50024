//! The Node binary: finding it and asking for its version.
//!
//! Owns: the search in PATH and the version text. Must never know: what the version means for the transport
//! (the loader decides). Used by `settings` and `doctor`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why there is no Node to run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoNode {
    #[error("no executable `{0}` in PATH")]
    NotInPath(String),
    #[error("{0} is not an executable file")]
    NotExecutable(String),
}

/// The absolute path of the Node binary. A text with a slash is a path, as for a shell.
pub(crate) fn find_node(
    typed: Option<&Path>,
    search_path: &str,
    current_folder: &Path,
) -> Result<PathBuf, NoNode> {
    let typed = typed.unwrap_or(Path::new("node"));
    if typed.components().count() > 1 {
        let path = current_folder.join(typed);
        let error = || NoNode::NotExecutable(typed.display().to_string());
        return if is_executable(&path) { Ok(path) } else { Err(error()) };
    }
    std::env::split_paths(search_path)
        .map(|folder| current_folder.join(folder).join(typed))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| NoNode::NotInPath(typed.display().to_string()))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What `node --version` prints, without the `v`.
pub(crate) fn node_version(node: &Path) -> std::io::Result<String> {
    let output = std::process::Command::new(node).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().strip_prefix('v').filter(|_| output.status.success());
    version.map(ToOwned::to_owned).ok_or_else(|| {
        std::io::Error::other(format!("`{} --version` printed {:?}", node.display(), text.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_and_a_path_is_not() {
        let here = Path::new("/");
        assert_eq!(find_node(Some(Path::new("sh")), "/nowhere:/bin", here), Ok("/bin/sh".into()));
        assert_eq!(find_node(Some(Path::new("bin/sh")), "", here), Ok("/bin/sh".into()));
        assert_eq!(
            find_node(Some(Path::new("./sh")), "/bin", here),
            Err(NoNode::NotExecutable("./sh".into()))
        );
        assert_eq!(find_node(None, "/nowhere", here), Err(NoNode::NotInPath("node".into())));
        assert_eq!(
            find_node(Some(Path::new("/etc/passwd")), "", here),
            Err(NoNode::NotExecutable("/etc/passwd".into()))
        );
    }
}
