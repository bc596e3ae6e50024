//! Options about configuration files.
//!
//! Owns: their names and help. Must never know: what is in such a file. Part of `args`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{EXIT_CODES, RunArgs};

#[derive(Args, Debug)]
pub(crate) struct ConfigVerbArgs {
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Print the settings that `run` would use as a hostler.toml, with where each comes from.
    ///
    /// Takes the options of `run`. What is only a default is a comment, so that the file means the same when it is saved:
    /// hostler config show > hostler.toml
    #[command(after_help = EXIT_CODES)]
    Show(Box<RunArgs>),
    /// Print the JSON Schema of hostler.toml, for editors.
    ///
    /// hostler config schema > hostler.schema.json, and `#:schema ./hostler.schema.json` as the first line of hostler.toml.
    Schema,
}

/// Which configuration file is read.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration file")]
pub(crate) struct ConfigArgs {
    /// The configuration file; TOML, or JSON if its name ends in .json. Default: hostler.toml beside the app.
    ///
    /// Relative paths in it begin at its own folder.
    #[arg(short, long, value_name = "FILE", conflicts_with = "no_config")]
    pub(crate) config: Option<PathBuf>,

    /// Read no configuration file, even if there is one.
    #[arg(long)]
    pub(crate) no_config: bool,
}
