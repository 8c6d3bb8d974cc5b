//! Points in time as they are typed.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;

/// How a point in time may be written, for messages.
const FORMS: &str = "write `2026-11-21T07:00:00Z`, `2026-11-21T07:00:00+01:00`, `2026-11-21` (midnight UTC), \
                     `2h` (that long ago), `+30m` (that far from now) or `now`";

/// A point in time, in itself or seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This one.
    At(Timestamp),
    /// This long ago.
    Ago(Duration),
    /// This far in the future.
    FromNow(Duration),
}

impl Moment {
    /// The moment itself.
    ///
    /// # Errors
    /// When it lies outside of what a timestamp can hold.
    pub fn resolve(self, now: SystemTime) -> Result<Timestamp, String> {
        let moved = match self {
            Self::At(time) => return Ok(time),
            Self::Ago(length) => now.checked_sub(length),
            Self::FromNow(length) => now.checked_add(length),
        };
        moved.map(Timestamp::from).ok_or_else(|| "the time is too far away".to_owned())
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |_| format!("`{text}` is no point in time; {FORMS}");
        if text == "now" {
            return Ok(Self::Ago(Duration::ZERO));
        }
        if let Some(length) = text.strip_prefix('+') {
            return humantime::parse_duration(length).map(Self::FromNow).map_err(|error| wrong(error.to_string()));
        }
        if let Ok(length) = humantime::parse_duration(text) {
            return Ok(Self::Ago(length));
        }
        // A time of day without a zone could be anybody's, so only a whole day goes without one.
        let is_day = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let whole = if is_day { format!("{text}T00:00:00Z") } else { text.to_owned() };
        let has_zone =
            whole.ends_with(['Z', 'z']) || whole.len() > 6 && whole[whole.len() - 6..].starts_with(['+', '-']);
        if !has_zone {
            return Err(wrong(String::new()));
        }
        whole.parse().map(Self::At).map_err(|error: prost_types::TimestampError| wrong(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::Moment;

    #[test]
    fn points_in_time_have_several_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (text, seconds) in [
            ("1970-01-02T00:00:00Z", 86_400),
            ("1970-01-02T01:00:00+01:00", 86_400),
            ("1970-01-01T22:30:00-01:30", 86_400),
            ("1970-01-02", 86_400),
            ("now", 1_000_000),
            ("2h", 992_800),
            ("+30m", 1_001_800),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.resolve(now).unwrap().seconds, seconds, "{text}");
        }
    }

    #[test]
    fn what_is_none_says_how_to_write_one() {
        for text in ["", "yesterday", "2026-13-01", "2026-11-21T07:00:00", "2026-11-21 07:00", "+", "ä-ä", "ääääää"]
        {
            let error = text.parse::<Moment>().unwrap_err();
            assert!(error.contains("+30m"), "`{text}`: {error}");
        }
        assert!(Moment::Ago(Duration::MAX).resolve(SystemTime::UNIX_EPOCH).is_err());
    }
}
