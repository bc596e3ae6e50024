//! Durations and sizes as people write them: `250ms`, `10s`, `2m`, `16K`, `1G`.
//!
//! Owns: reading and showing them. Must never know: which option a value belongs to.
//! Used by `settings` for what was typed and by every verb that shows a figure.

/// Reads `250ms`, `10s`, `1.5m` or `2h` as milliseconds. A unit is required, because a bare number means
/// seconds to some tools and milliseconds to others.
pub(crate) fn parse_duration_ms(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    scale(number, unit_ms)
}

/// Reads `800`, `16K`, `1.5M`, `2GiB` as bytes; units are powers of 1024.
pub(crate) fn parse_size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let unit_bytes = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    scale(number, unit_bytes)
}

/// An exact form as people write it: `250ms`, `75s`, `2m`; a minute and a half is `90s`.
pub(crate) fn show_duration_ms(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        60_000 => "60s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// The shortest exact form: `800`, `16K`, `4M`. What [`parse_size_bytes`] reads back.
pub(crate) fn show_size_bytes(bytes: u64) -> String {
    for (unit_bytes, unit) in [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")] {
        if bytes >= unit_bytes && bytes.is_multiple_of(unit_bytes) {
            return format!("{}{unit}", bytes / unit_bytes);
        }
    }
    bytes.to_string()
}

/// Rounded for reading: `812 B`, `42.3 KiB`, `16.0 MiB`.
pub(crate) fn show_memory(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// An age for reading, the two largest units: `42s`, `3m 05s`, `2h 10m`, `9d 03h`.
pub(crate) fn show_age_s(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours:02}h"),
    }
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    // `f64::from_str` takes "." for an error but ".5" and "5." for numbers; people write neither.
    if number.starts_with('.') || number.ends_with('.') {
        return None;
    }
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Rounds to the unit's base; `None` beyond what a `u64` holds exactly.
fn scale(number: f64, unit: u64) -> Option<u64> {
    let value = number * unit as f64;
    (value.is_finite() && value < (1_u64 << 53) as f64).then_some(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [
            ("250ms", Some(250)),
            ("10s", Some(10_000)),
            ("1.5m", Some(90_000)),
            ("2h", Some(7_200_000)),
            (" 75 s ", Some(75_000)),
            ("0s", Some(0)),
            ("10", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            (".5s", None),
            ("1e3s", None),
            ("10 seconds", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse_duration_ms(text), ms, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [
            ("800", Some(800)),
            ("16K", Some(16_384)),
            ("16kB", Some(16_384)),
            ("1.5M", Some(1_572_864)),
            ("2 GiB", Some(2 << 30)),
            ("0", Some(0)),
            ("K", None),
            ("1T", None),
            ("", None),
            ("-1", None),
            ("inf", None),
        ] {
            assert_eq!(parse_size_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for ms in [0, 1, 250, 1_000, 1_500, 60_000, 75_000, 3_600_000, 5_400_000] {
            assert_eq!(parse_duration_ms(&show_duration_ms(ms)), Some(ms));
        }
        for bytes in [0, 1, 1_023, 1_024, 16_384, 1_500_000, 1 << 20, 3 << 30] {
            assert_eq!(parse_size_bytes(&show_size_bytes(bytes)), Some(bytes));
        }
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(show_memory(812), "812 B");
        assert_eq!(show_memory(43_315), "42.3 KiB");
        assert_eq!(show_memory(16 << 20), "16.0 MiB");
        assert_eq!(show_age_s(42), "42s");
        assert_eq!(show_age_s(185), "3m 05s");
        assert_eq!(show_age_s(7_800), "2h 10m");
        assert_eq!(show_age_s(9 * 86_400 + 3 * 3_600), "9d 03h");
    }
}
