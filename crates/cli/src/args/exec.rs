//! Options of `exec`.
//!
//! Owns: their names and help. Must never know: how the command is run. Part of `args`.

use std::ffi::OsString;

use clap::Args;

use super::LogFormat;

pub(super) const EXAMPLES: &str = "\
Examples:
  hostler exec -- npm test                    the app's own tests, over frames
  hostler exec --summary -- node server.js    the app by itself, on the port it asks for
  hostler exec -- npx mocha test/*.js

Node opens the ports and accepts, as always; the proxy takes each accepted connection
before a byte is read, and hands requests to the app as it does under `hostler run`.
What frames cannot carry (upgrades, CONNECT, broken requests) goes back to Node, which
then reads it itself. Nothing is added to requests or answers. https, http2 and net
servers are left alone.

--summary prints one last line on stderr:
  hostler exec: servers=N requests=N frames=N http=N
servers that listened, requests in all, those over frames, those that Node read itself.

The exit code is the command's own; 128 and the signal's number if a signal ended it,
127 if there is no such program, 126 if it cannot be run, 1 if hostler failed.";

#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// Print one last line on stderr: how many servers and requests, and which way they went.
    #[arg(long)]
    pub(crate) summary: bool,

    /// Form of the logs; there are none unless HOSTLER_LOG is set.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    /// The command and its arguments, behind `--`.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<OsString>,
}
