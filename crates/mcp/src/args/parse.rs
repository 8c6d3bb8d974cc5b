//! Values of flags.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::{duration, pair};

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
}
