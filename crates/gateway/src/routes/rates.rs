//! How often the callers of a route may call.

use std::time::Duration;

use mcp_proto::gateway::v1::{RateLimit as Wire, RateLimitBy};

use super::violations::Violations;
use crate::{config::RateLimit, limits::settings::By};

/// Most limits of one route or policy.
const LIMITS_MAX: usize = 16;

/// Compiles `settings.rate_limits`.
pub(super) fn compile(limits: &[Wire], wrong: &mut Violations) -> Vec<RateLimit> {
    wrong.at_most(limits.len(), LIMITS_MAX, "settings.rate_limits");
    let mut compiled: Vec<RateLimit> = Vec::new();
    for (index, wire) in limits.iter().take(LIMITS_MAX).enumerate() {
        let at = format!("settings.rate_limits[{index}]");
        let by = match wire.by() {
            RateLimitBy::Unspecified | RateLimitBy::Route => By::Route,
            RateLimitBy::Principal => By::Principal,
            RateLimitBy::Ip => By::Ip,
        };
        let window = wire.window.map_or(Ok(Duration::from_secs(1)), Duration::try_from);
        let window = wrong.take(&format!("{at}.window"), window.map_err(|_| "must not be negative".to_owned()));
        let Wire { name, requests, burst, .. } = wire.clone();
        let limit = RateLimit { name, by, requests, window: window.unwrap_or(Duration::from_secs(1)), burst };
        if let Err((field, reason)) = limit.check() {
            wrong.add(format!("{at}.{field}"), reason);
        } else if compiled.iter().any(|other| other.name == limit.name) {
            wrong.add(format!("{at}.name"), format!("`{}` is there twice", limit.name));
        } else {
            compiled.push(limit);
        }
    }
    compiled
}
