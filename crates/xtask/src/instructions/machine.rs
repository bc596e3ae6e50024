//! What counts depend on beside the code.
//!
//! Owns: its description. Must never know: the counts.

use std::process::Command;

use serde::Deserialize;

use crate::run::version;

/// What made a baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Machine {
    /// Architecture, and the vector instructions that the libraries choose their code by while they run.
    pub(crate) target: String,
    pub(crate) rustc: String,
    pub(crate) libc: String,
    pub(crate) valgrind: String,
}

impl Machine {
    /// The one that this runs on.
    pub(crate) fn this() -> Result<Self, String> {
        let known = |name: &str, version: Option<String>| {
            version.ok_or_else(|| format!("{name} does not say its version"))
        };
        let libc = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok();
        let libc = libc.filter(|output| output.status.success());
        Ok(Self {
            target: target(),
            rustc: known("rustc", version("rustc", "--version"))?,
            libc: libc.map_or_else(
                || "another".to_owned(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            ),
            valgrind: known("valgrind", version("valgrind", "--version"))?,
        })
    }

    /// A line for each thing that is another one here.
    pub(crate) fn differences(&self, here: &Self) -> String {
        [
            ("processor", &self.target, &here.target),
            ("rustc", &self.rustc, &here.rustc),
            ("C library", &self.libc, &here.libc),
            ("valgrind", &self.valgrind, &here.valgrind),
        ]
        .into_iter()
        .filter(|(_, made_with, here)| made_with != here)
        .map(|(what, made_with, here)| {
            format!("the baseline was made with another {what}: {made_with}, this is {here}\n")
        })
        .collect()
    }
}

/// valgrind shows its programs one of a few processors, the best one that the real one can do; AVX2 is the most of them.
fn target() -> String {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64 with AVX2".to_owned();
    }
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let one = Machine { rustc: "rustc 1".into(), libc: "glibc 2".into(), ..Machine::default() };
        assert_eq!(one.differences(&one), "");
        let other = Machine { rustc: "rustc 2".into(), ..one.clone() };
        assert_eq!(
            one.differences(&other),
            "the baseline was made with another rustc: rustc 1, this is rustc 2\n"
        );
    }
}
