//! Routes as they are in force, as data.

use std::fmt;

use serde::Serialize;

use super::{action::Action, compiled::CompiledRoute, hosts::HostPattern, path::PathPattern};
use crate::transcode::template;

/// A route that is in force.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RouteView {
    /// Its id.
    id: String,
    /// The version of its record.
    version: u64,
    /// Its priority; none: it comes last.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    /// Hosts that it is for.
    hosts: Vec<String>,
    /// `grpc`: paths are those of methods, in whatever form they are called.
    by: &'static str,
    /// Paths that it is for.
    path: String,
    /// `forward`, `redirect` or `respond`.
    action: &'static str,
    /// Services that it forwards to; none: the one that the path names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<String>,
    /// How many layers a request passes.
    layers: usize,
}

impl RouteView {
    /// A picture of a route.
    pub(crate) fn of(route: &CompiledRoute) -> Self {
        let (action, services) = match &route.facts.action {
            Action::Forward(forward) => ("forward", forward.services().map(str::to_owned).collect()),
            Action::Redirect(_) => ("redirect", Vec::new()),
            Action::Respond(_) => ("respond", Vec::new()),
        };
        Self {
            id: route.facts.id.to_string(),
            version: route.version,
            priority: Some(route.priority).filter(|priority| *priority != i32::MIN),
            hosts: route.hosts.iter().map(ToString::to_string).collect(),
            by: if route.is_grpc { "grpc" } else { "http" },
            path: route.path.to_string(),
            action,
            services,
            layers: route.layers.len(),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(_, name) => write!(f, "*.{name}"),
            Self::Exact(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        template::write(f, &self.segments, &self.variables, self.verb.as_deref())
    }
}
