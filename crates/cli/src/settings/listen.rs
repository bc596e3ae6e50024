//! Where an instance listens: `--listen`, else `HOST` and `PORT`.
//!
//! Owns: the defaults and the short forms. Must never know: sockets. Used by `settings`.

use hostler_spawner::ListenAddress;

use super::surroundings::Surroundings;
use super::value::{Setting, SettingsError, Source};
use crate::args::RunArgs;

const PORT_DEFAULT: u16 = 3000;

pub(super) fn read_listen(
    args: &RunArgs,
    around: &Surroundings<'_>,
) -> Result<Setting<Vec<ListenAddress>>, SettingsError> {
    let env = |name: &str| (around.env)(name);
    let host = env("HOST");
    if !args.listen.is_empty() {
        let parsed = args.listen.iter().map(|text| {
            // A bare port means this machine only, like the default.
            let port_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let full = if port_only { format!("127.0.0.1:{text}") } else { text.clone() };
            parse_address("--listen", &full)
        });
        let value = parsed.collect::<Result<Vec<_>, _>>()?;
        return Ok(Setting { value, source: Source::Option });
    }
    let port = match env("PORT") {
        Some(text) => Some(text.trim().parse::<u16>().map_err(|_| SettingsError::BadValue {
            name: "PORT".to_owned(),
            value: text.clone(),
            expected: "a port number from 0 to 65535".to_owned(),
        })?),
        None => None,
    };
    let source = match (&host, port) {
        (None, None) => Source::Default,
        (None, Some(_)) => Source::Environment("PORT"),
        (Some(_), None) => Source::Environment("HOST"),
        (Some(_), Some(_)) => Source::Environment("HOST, PORT"),
    };
    let host = host.unwrap_or_else(|| "127.0.0.1".to_owned());
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let address = parse_address("HOST", &format!("{host}:{}", port.unwrap_or(PORT_DEFAULT)))?;
    Ok(Setting { value: vec![address], source })
}

fn parse_address(name: &str, text: &str) -> Result<ListenAddress, SettingsError> {
    text.parse::<ListenAddress>().map_err(|error| SettingsError::BadAddress {
        name: name.to_owned(),
        why: error.to_string(),
    })
}
