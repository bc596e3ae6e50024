//! `cargo xtask pgo`: the binary that was compiled with the knowledge of what it does under load.
//!
//! Owns: its three steps (a build that counts, load on it, a build that uses the counts) and finding LLVM's tool.
//! Must never know: what the load is; the `loadtest` crate has it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::run::{cargo, root, run, version};

/// What trains the proxy: each of its usual ways once. Fewer requests would be enough; the counts are relative.
const TRAINING: [&str; 16] = [
    "hello",
    "express",
    "new-connections",
    "upload-1k",
    "response-64k",
    "slow-readers",
    "websocket",
    "--peers",
    "node,uring,epoll",
    "--rounds",
    "1",
    "--seconds",
    "2",
    "--warmup",
    "1",
    "--no-syscalls",
];

/// Builds `target/pgo/hostler`.
pub(crate) fn pgo() -> Outcome {
    let rustc = Rustc::ask()?;
    // Before the long builds: without it they were for nothing.
    let profdata = rustc.profdata()?;
    let folder = root().join("target/pgo");
    let counts = folder.join("counts");
    if counts.exists() {
        fs::remove_dir_all(&counts).map_err(|error| format!("{}: {error}", counts.display()))?;
    }
    let counting = folder.join("counting");
    build("hostler", &rustc, &counting, &format!("-Cprofile-generate={}", counts.display()))?;
    train(&rustc, &counting)?;
    let profile = folder.join("hostler.profdata");
    let mut merge = Command::new(profdata);
    merge.arg("merge").arg("-o").arg(&profile).arg(&counts);
    run(merge)?;
    let using = folder.join("using");
    build("hostler", &rustc, &using, &format!("-Cprofile-use={}", profile.display()))?;
    let made = folder.join("hostler");
    copy(&rustc.binary(&using, "hostler"), &made)?;
    println!("made {}", made.display());
    Ok(())
}

/// `cargo build --release` of one package with a flag for rustc. The target is named so that the flag is not for build scripts.
fn build(package: &str, rustc: &Rustc, target_dir: &Path, flag: &str) -> Outcome {
    let mut command = cargo();
    command.args(["build", "--release", "--package", package, "--target", &rustc.host]);
    command.arg("--target-dir").arg(target_dir).env("RUSTFLAGS", flag);
    run(command)
}

/// The load test takes the server that lies beside it: so it is put beside the one that counts.
fn train(rustc: &Rustc, counting: &Path) -> Outcome {
    let mut command = cargo();
    command.args(["build", "--release", "--package", "loadtest"]);
    run(command)?;
    let loadtest = rustc.binary(counting, "loadtest");
    copy(&root().join("target/release/loadtest"), &loadtest)?;
    let mut command = Command::new(loadtest);
    command.args(TRAINING).current_dir(root());
    run(command)
}

fn copy(from: &Path, to: &Path) -> Outcome {
    fs::copy(from, to)
        .map(|_bytes| ())
        .map_err(|error| format!("copying {} to {}: {error}", from.display(), to.display()))
}

/// What the compiler says of itself.
struct Rustc {
    /// Its own target, `x86_64-unknown-linux-gnu`.
    host: String,
    /// The first number of its LLVM's version: profiles are readable by the same only.
    llvm: String,
}

impl Rustc {
    fn ask() -> Result<Self, String> {
        let text = version("rustc", "-vV").ok_or("rustc cannot be started")?;
        Self::parse(&text).ok_or_else(|| format!("rustc -vV says neither host nor LLVM:\n{text}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let llvm = value("LLVM version: ")?.split('.').next()?;
        Some(Self { host: value("host: ")?.to_owned(), llvm: llvm.to_owned() })
    }

    /// Where cargo puts a binary if it was told the target.
    fn binary(&self, target_dir: &Path, name: &str) -> PathBuf {
        target_dir.join(&self.host).join("release").join(name)
    }

    /// `llvm-profdata` of this LLVM: rustup's, else Debian's, else the one in `PATH` if it is the same version.
    fn profdata(&self) -> Result<OsString, String> {
        let llvm = &self.llvm;
        let sysroot = version("rustc", "--print=sysroot").unwrap_or_default();
        let host = &self.host;
        let candidates = [
            format!("{sysroot}/lib/rustlib/{host}/bin/llvm-profdata"),
            format!("/usr/lib/llvm-{llvm}/bin/llvm-profdata"),
            format!("llvm-profdata-{llvm}"),
            "llvm-profdata".to_owned(),
        ];
        let is_right = |program: &String| {
            let said = version(program, "--version").unwrap_or_default();
            said.contains(&format!("LLVM version {llvm}."))
        };
        candidates.into_iter().find(is_right).map(OsString::from).ok_or_else(|| {
            format!(
                "no llvm-profdata of LLVM {llvm} is installed: `rustup component add llvm-tools`, or `apt-get install \
                 llvm-{llvm}`"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_says_what_it_is() {
        let text = "rustc 1.95.0 (1 2026)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.2\n";
        let rustc = Rustc::parse(text).expect("complete");
        assert_eq!((&*rustc.host, &*rustc.llvm), ("x86_64-unknown-linux-gnu", "22"));
        let binary = rustc.binary(Path::new("/t"), "hostler");
        assert_eq!(binary, Path::new("/t/x86_64-unknown-linux-gnu/release/hostler"));
        assert!(Rustc::parse("rustc 1.95.0").is_none());
    }
}
