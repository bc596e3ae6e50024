//! Where an instance listens: `--listen`, else `HOST` and `PORT`, else the file.
//!
//! Owns: the defaults, the short forms, and when the environment overrules the file. Must never know: sockets. Used by `settings`.

use std::path::Path;

use hostler_spawner::ListenAddress;

use super::typed::AsTyped;
use super::value::{Named, Setting, SettingsError, Source};
use crate::config_file::{Said, mentions};

const PORT_DEFAULT: u16 = 3000;

pub(super) fn read_listen(all: &AsTyped<'_>) -> Result<Setting<Vec<ListenAddress>>, SettingsError> {
    let of_file = read_file(all)?;
    if !all.args.listen.is_empty() {
        let parsed = all.args.listen.iter().map(|text| read_address(Named::new("--listen", text)));
        let value = parsed.collect::<Result<Vec<_>, _>>()?;
        return Ok(Setting { value, source: Source::Option });
    }
    // Whoever writes `${PORT}` has said what PORT means.
    let unused = |name: &str| of_file.iter().all(|(said, _)| !mentions(&said.raw, name));
    let env = |name: &str| (all.around.env)(name).filter(|_| unused("HOST") && unused("PORT"));
    let host = env("HOST");
    let port = match env("PORT") {
        Some(text) => Some(text.trim().parse::<u16>().map_err(|_| SettingsError::BadValue {
            name: "PORT".to_owned(),
            value: text.clone(),
            expected: "a port number from 0 to 65535".to_owned(),
        })?),
        None => None,
    };
    if let ((None, None), Some((said, _))) = ((&host, port), of_file.first()) {
        let source = Source::File(said.place.clone());
        let value = of_file.into_iter().map(|(_, address)| address).collect();
        return Ok(Setting { value, source });
    }
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

/// The addresses of the file, each with where it stands.
fn read_file(all: &AsTyped<'_>) -> Result<Vec<(Said, ListenAddress)>, SettingsError> {
    let Some(listen) = &all.file.server.listen else { return Ok(Vec::new()) };
    let mut addresses = Vec::new();
    if listen.values().is_empty() {
        return Err(SettingsError::NoAddress { file: all.file.found.shown().to_owned() });
    }
    for value in listen.values() {
        let Some(said) = all.said(Some(value))? else { continue };
        let address = said.read(read_address)?.value;
        addresses.push((said, in_folder(address, &all.file.folder)));
    }
    Ok(addresses)
}

/// As all paths of a file.
fn in_folder(address: ListenAddress, folder: &Path) -> ListenAddress {
    match address {
        ListenAddress::Unix(path) => ListenAddress::Unix(folder.join(path)),
        tcp @ ListenAddress::Tcp(_) => tcp,
    }
}

fn read_address(text: Named<'_>) -> Result<ListenAddress, SettingsError> {
    let address = text.text.trim();
    // A bare port means this machine only, like the default.
    let port_only = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_digit());
    match port_only {
        true => parse_address(text.name, &format!("127.0.0.1:{address}")),
        false => parse_address(text.name, address),
    }
}

fn parse_address(name: &str, text: &str) -> Result<ListenAddress, SettingsError> {
    text.parse::<ListenAddress>().map_err(|error| SettingsError::BadAddress {
        name: name.to_owned(),
        why: error.to_string(),
    })
}
