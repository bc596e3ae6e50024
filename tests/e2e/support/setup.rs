//! What to start: the command line of one instance.
//!
//! Owns: options, limits, environment and the start itself. Must never know: what happens to the instance.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::output::{Output, Source};
use super::process::{TAG, fd_count};
use super::{PATIENCE, Transport, Variant};

/// What to start.
pub(crate) struct Setup {
    variant: Variant,
    app: PathBuf,
    options: Vec<String>,
    app_args: Vec<String>,
    listen: Vec<String>,
    nofile: Option<u32>,
    runtime_dir: Option<PathBuf>,
    /// Folders in front of `PATH`.
    search: Vec<PathBuf>,
    is_command: bool,
    /// A configuration file says everything that the options would.
    by_file: bool,
    env: Vec<(String, String)>,
}

impl Setup {
    /// A fixture app by file name, one worker and one shard unless options say otherwise.
    pub(crate) fn new(variant: Variant, app: &str) -> Self {
        Self::path(variant, super::app(app))
    }

    /// An app by path.
    pub(crate) fn path(variant: Variant, app: PathBuf) -> Self {
        Self {
            variant,
            app,
            options: Vec::new(),
            app_args: Vec::new(),
            listen: Vec::new(),
            nofile: None,
            runtime_dir: None,
            search: Vec::new(),
            is_command: false,
            by_file: false,
            env: Vec::new(),
        }
    }

    /// A command in a folder of the fixtures.
    pub(crate) fn command(variant: Variant, folder: &str, line: &str) -> Self {
        let setup = Self::path(variant, super::fixtures().join(folder));
        Self { is_command: true, ..setup }.option("--command").option(line)
    }

    /// What a configuration file says: the app, where it listens, its runtime directory.
    pub(crate) fn file(variant: Variant, file: PathBuf, runtime_dir: &Path) -> Self {
        let setup = Self::path(variant, PathBuf::new());
        let setup = Self { by_file: true, runtime_dir: Some(runtime_dir.to_owned()), ..setup };
        setup.option("-c").option(file.to_str().expect("UTF-8"))
    }

    /// A variable of Hostler's own environment, which workers inherit.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Programs are looked for in this folder first.
    pub(crate) fn search(mut self, folder: PathBuf) -> Self {
        self.search.push(folder);
        self
    }

    /// Adds options, split at spaces.
    pub(crate) fn options(mut self, options: &str) -> Self {
        self.options.extend(options.split_whitespace().map(str::to_owned));
        self
    }

    /// Adds one argument as it is.
    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Arguments for the app, after `--`.
    pub(crate) fn app_args(mut self, args: &[&str]) -> Self {
        self.app_args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Listens there instead of on a free port of 127.0.0.1; repeatable.
    pub(crate) fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Soft and hard limit of open descriptors.
    pub(crate) fn nofile(mut self, limit: u32) -> Self {
        self.nofile = Some(limit);
        self
    }

    /// Uses this runtime directory (which is then not removed by this instance).
    pub(crate) fn runtime_dir(mut self, dir: &str) -> Self {
        self.runtime_dir = Some(PathBuf::from(dir));
        self
    }

    /// Starts and waits for the ready line; panics with all output if there is none.
    pub(crate) fn start(self) -> Instance {
        // Kept connections to a server that is not Node come and go.
        let frames = self.variant.transport == Transport::Frames && !self.is_command;
        let mut instance = self.spawn();
        instance.wait_ready();
        instance.wait_all_workers();
        if frames {
            instance.baseline_fds = fd_count(instance.proxy_pid());
        }
        instance
    }

    /// Starts something that must fail; gives its end and its output.
    pub(crate) fn spawn_and_fail(self) -> Failure {
        let mut instance = self.spawn();
        let status = instance.wait_exit(PATIENCE * 2);
        instance.assert_no_process_left();
        let failure = Failure {
            code: status.code(),
            stdout: instance.output.text(Source::Stdout),
            stderr: instance.output.text(Source::Stderr),
            took: instance.started.elapsed(),
        };
        instance.ended = true;
        failure
    }

    /// Starts without waiting for anything.
    pub(crate) fn spawn(self) -> Instance {
        let tag = unique_tag();
        let own_dir = std::env::temp_dir().join(format!("hostler-{tag}"));
        let runtime_dir = self.runtime_dir.clone().unwrap_or_else(|| own_dir.clone());
        let mut command = self.command_line(&runtime_dir);
        command.env(TAG, &tag);
        let mut child = command.spawn().expect("the hostler binary starts");
        let output = Arc::new(Output::default());
        output.collect(Source::Stdout, child.stdout.take().expect("piped"));
        output.collect(Source::Stderr, child.stderr.take().expect("piped"));
        Instance {
            variant: self.variant,
            child,
            output,
            runtime_dir,
            own_dir,
            tag,
            targets: Vec::new(),
            baseline_fds: 0,
            started: Instant::now(),
            ended: false,
        }
    }

    fn default_options(&self, command: &mut Command, runtime_dir: &Path) {
        command.arg(&self.app);
        command.args(["--log-format", "json", "--runtime-dir"]).arg(runtime_dir);
        for (option, default) in [("--workers", "1"), ("--shards", "1"), ("--pin", "off")] {
            if !self.options.iter().any(|given| given == option) {
                command.args([option, default]);
            }
        }
        if self.listen.is_empty() {
            command.args(["--listen", "127.0.0.1:0"]);
        }
    }

    fn command_line(&self, runtime_dir: &Path) -> Command {
        let binary = env!("CARGO_BIN_EXE_hostler");
        let mut command = match self.nofile {
            // The shell sets the limit and becomes the binary: no unsafe code in a test.
            Some(limit) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\""), binary]);
                shell
            }
            None => Command::new(binary),
        };
        command.arg("run");
        command.args(["--io", self.variant.io(), "--transport", self.variant.transport()]);
        if !self.by_file {
            self.default_options(&mut command, runtime_dir);
        }
        for address in &self.listen {
            command.args(["--listen", address]);
        }
        command.args(&self.options);
        if !self.app_args.is_empty() {
            command.arg("--").args(&self.app_args);
        }
        for name in [
            "PORT",
            "HOST",
            "WEB_CONCURRENCY",
            "NODE_ENV",
            "HOSTLER_RUNTIME_DIR",
            "HOSTLER_HANG_MS",
            "HOSTLER_READY",
        ] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if !self.search.is_empty() {
            let own = std::env::var_os("PATH").unwrap_or_default();
            let folders = self.search.iter().cloned().chain(std::env::split_paths(&own));
            command.env("PATH", std::env::join_paths(folders).expect("no colons in folders"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The end of a start that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Failure {
    /// Asserts the exit code and that every needle occurs in what was printed.
    pub(crate) fn expect(&self, code: i32, needles: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let all = format!("{}\n{}", self.stdout, self.stderr);
        for needle in needles {
            assert!(all.contains(needle), "no {needle:?} in {self:#?}");
        }
    }
}

fn unique_tag() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
