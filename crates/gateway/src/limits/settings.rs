//! The `[gateway.limits]` section, and the rate limit that routes have too.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most limits in one place.
const RULES_MAX: usize = 32;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Longest window.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Limits that hold for every call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// Callers that are remembered, for all limits together. Of more, those are forgotten that have most left.
    pub keys_max: usize,
    /// The limits. A call must be within each of them.
    pub rules: Vec<RateLimit>,
}

/// So many requests in so much time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// What callers read in `RateLimit-Policy`: 1-64 characters of `a-zA-Z0-9._-`.
    pub name: String,
    /// Who shares a bucket.
    pub by: By,
    /// Requests in each window.
    pub requests: u32,
    /// Length of the window.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Requests at once after a quiet time. 0 means `requests`.
    pub burst: u32,
}

/// Who shares a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// All callers of the route; without a route, all callers.
    Route,
    /// All calls of one principal.
    Principal,
    /// All calls from one address; of IPv6, from one /64.
    Ip,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { keys_max: 100_000, rules: Vec::new() }
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { name: "default".to_owned(), by: By::Ip, requests: 0, window: Duration::from_secs(1), burst: 0 }
    }
}

impl RateLimit {
    /// Requests at once after a quiet time.
    pub(crate) fn burst(&self) -> u32 {
        if self.burst == 0 { self.requests } else { self.burst }
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.bytes().all(is_name) {
            return Err(("name", format!("`{}` is not 1-{NAME_BYTES_MAX} characters of `a-zA-Z0-9._-`", self.name)));
        }
        if self.requests == 0 {
            return Err(("requests", "must be at least 1".into()));
        }
        if self.window.is_zero() || self.window > WINDOW_MAX {
            return Err(("window", format!("is {:?}, must be longer than 0 and at most 24 h", self.window)));
        }
        Ok(())
    }
}

impl LimitSettings {
    /// The first wrong key below `gateway`, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.keys_max == 0 {
            return Err(("limits.keys_max", "must be at least 1".into()));
        }
        if self.rules.len() > RULES_MAX {
            return Err(("limits.rules", format!("has {} limits, at most {RULES_MAX} may be", self.rules.len())));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|(field, reason)| ("limits.rules", format!("[{index}].{field} {reason}")))?;
            if self.rules[..index].iter().any(|other| other.name == rule.name) {
                return Err(("limits.rules", format!("[{index}].name `{}` is there twice", rule.name)));
            }
        }
        Ok(())
    }
}
