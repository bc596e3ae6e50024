//! Small tables in the place of one value: `workers = { min = 2, max = 8 }`.
//!
//! Owns: finding the values of such a table, and what is said of one with other keys. Must never know: what the values mean.
//! Used by `settings`.

use super::error::{ConfigError, did_you_mean};
use super::{ConfigFile, Kind, Typed};

impl ConfigFile {
    /// The values of a table with exactly these keys, in this order; none if the value is no table.
    pub(crate) fn table<K: Kind, E: Kind, const N: usize>(
        &self,
        value: &Typed<K>,
        keys: [&str; N],
    ) -> Result<Option<[Typed<E>; N]>, ConfigError> {
        let Some(mut entries) = value.entries::<E>() else { return Ok(None) };
        if let Some((found, unknown)) = entries.iter().find(|(name, _)| !keys.contains(name)) {
            let (place, hint) = (self.place(unknown), did_you_mean(found, &keys));
            return Err(ConfigError::UnknownKey { place, hint });
        }
        let mut take = |key: &str| {
            let at = entries.iter().position(|(name, _)| *name == key)?;
            Some(entries.swap_remove(at).1)
        };
        let found = keys.map(|key| take(key).ok_or(key));
        if let Some(missing) = found.iter().find_map(|value| value.as_ref().err()) {
            let why = format!("`{missing}` is missing: {} is expected", K::EXPECTED);
            return Err(ConfigError::WrongShape { place: self.place(value), why });
        }
        Ok(Some(found.map(|value| value.unwrap_or_else(|_| unreachable!("none is missing")))))
    }
}
