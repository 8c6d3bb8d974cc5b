//! Values of flags.

use std::time::Duration;

/// Units of memory and how many bytes they are; longer names come first, so that `MiB` is not read as `B`.
const MEMORY_UNITS: [(&str, u64); 13] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("B", 1),
];
/// Thousandths in a core.
const MILLIS: f64 = 1_000.0;
/// Largest number of bytes that a flag may mean: what is exact in a double.
const MEMORY_BYTES_MAX: f64 = 9_007_199_254_740_992.0;

/// A length of time: `300ms`, `5s`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write for instance `300ms`, `5s` or `1h 30m`"))
}

/// `KEY=VALUE`; the value may be empty and may hold more equal signs.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Any JSON value.
pub(super) fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

/// `KEY=VALUE` whose value is JSON when it can be read as such, and text otherwise.
pub(super) fn input(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = pair(text)?;
    let value = serde_json::from_str(&value).unwrap_or(serde_json::Value::String(value));
    Ok((key, value))
}

/// CPU in thousandths of a core: `500m`, `2`, `0.5`.
pub(super) fn cpu(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no amount of CPU; write cores (`2`, `0.5`) or thousandths of one (`500m`)");
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<u32>().map_err(|_| wrong())?,
        None => {
            let millis = text.parse::<f64>().map_err(|_| wrong())? * MILLIS;
            if !(0.0..=f64::from(u32::MAX)).contains(&millis) || (millis - millis.round()).abs() > 1e-6 {
                return Err(wrong());
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within u32, checked above")]
            let millis = millis.round() as u32;
            millis
        }
    };
    if millis == 0 { Err(wrong()) } else { Ok(millis) }
}

/// Memory in bytes: `512MiB`, `1.5GiB`, `200MB`, `1048576`.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no amount of memory; write for instance `512MiB`, `1.5GiB` or `200MB`");
    let unit = MEMORY_UNITS.iter().find_map(|(unit, bytes)| text.strip_suffix(unit).map(|number| (number, *bytes)));
    let (number, factor) = unit.unwrap_or((text, 1));
    #[expect(clippy::cast_precision_loss, reason = "the units are powers that a double holds exactly")]
    let bytes = number.trim_end().parse::<f64>().map_err(|_| wrong())? * factor as f64;
    if !(1.0..=MEMORY_BYTES_MAX).contains(&bytes) {
        return Err(wrong());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 2^53, checked above")]
    let bytes = bytes.round() as u64;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{cpu, duration, input, memory, pair};

    #[test]
    fn pairs_keep_all_after_the_first_equal_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("A="), Ok(("A".to_owned(), String::new())));
        assert!(pair("=b").is_err() && pair("A").is_err());
    }

    #[test]
    fn a_wrong_time_says_how_to_write_one() {
        assert_eq!(duration("1h 30m").unwrap().as_secs(), 5_400);
        assert!(duration("-5s").unwrap_err().contains("write for instance"));
    }

    #[test]
    fn inputs_are_json_when_they_can_be() {
        for (text, value) in [
            ("n=5", json!(5)),
            ("n=true", json!(true)),
            ("n=[1,2]", json!([1, 2])),
            ("n=\"5\"", json!("5")),
            ("n=hello", json!("hello")),
            ("n=", json!("")),
            ("n=2026-11-21", json!("2026-11-21")),
        ] {
            assert_eq!(input(text), Ok(("n".to_owned(), value)), "{text}");
        }
    }

    #[test]
    fn cpu_is_cores_or_thousandths() {
        let read = ["500m", "2", "0.5", "1.25", "0.001", "4294967"].map(|text| cpu(text).unwrap());
        assert_eq!(read, [500, 2_000, 500, 1_250, 1, 4_294_967_000]);
        for wrong in ["", "m", "0", "0m", "-1", "1.0005", "x", "500M", "NaN", "inf", "5000000"] {
            assert!(cpu(wrong).is_err(), "`{wrong}` was taken");
        }
    }

    #[test]
    fn memory_has_units() {
        let read = ["512MiB", "1.5GiB", "200MB", "1Gi", "64 KiB", "1kB", "1048576", "10B", "1TiB"];
        let bytes = read.map(|text| memory(text).unwrap());
        assert_eq!(bytes, [536_870_912, 1_610_612_736, 200_000_000, 1 << 30, 65_536, 1_000, 1_048_576, 10, 1 << 40]);
        for wrong in ["", "MiB", "0", "-1MiB", "12 bytes", "1.2.3GiB", "NaN", "9000TiB", "5mib"] {
            assert!(memory(wrong).is_err(), "`{wrong}` was taken");
        }
    }
}
