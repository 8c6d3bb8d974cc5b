//! The settings that hold for a route: those of its policies, one after another, and its own on top.

use mcp_proto::gateway::v1::Settings;

/// Puts settings on top of others. A section that the upper one has takes the place of the lower one's; lists are joined.
pub(super) fn merge(lower: Settings, upper: Settings) -> Settings {
    let joined = |mut lower: Vec<_>, upper: Vec<_>| {
        lower.extend(upper);
        lower
    };
    let mut rate_limits = lower.rate_limits;
    rate_limits.extend(upper.rate_limits);
    let mut layers = lower.layers;
    layers.extend(upper.layers);
    Settings {
        timeout: upper.timeout.or(lower.timeout),
        headers: joined(lower.headers, upper.headers),
        cors: upper.cors.or(lower.cors),
        compression: upper.compression.or(lower.compression),
        body_bytes_max: if upper.body_bytes_max == 0 { lower.body_bytes_max } else { upper.body_bytes_max },
        json: upper.json.or(lower.json),
        upstream: upper.upstream.or(lower.upstream),
        rate_limits,
        layers,
        auth: upper.auth.or(lower.auth),
    }
}
