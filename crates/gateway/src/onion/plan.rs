//! What a layer is before it is put around anything: its settings, checked and compiled, the same for every thread.

use std::{fmt, sync::Arc};

use mcp_proto::gateway::v1::{Mirror, Settings};

use super::service::LocalService;
use crate::routes::{predicate::Condition, violations::Violations};

/// A layer with its settings.
pub(crate) trait Plan: fmt::Debug + Send + Sync {
    /// Puts the layer around `inner`, for one data-plane thread.
    fn wrap(&self, inner: LocalService, site: &Site) -> LocalService;
}

/// The place where layers are put together.
#[derive(Debug)]
pub(crate) struct Site {
    /// The inside of all layers, for those that send requests of their own.
    pub(crate) inside: LocalService,
}

/// What layers are planned from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// Its settings.
    pub(crate) settings: &'a Settings,
    /// Where copies of its requests go.
    pub(crate) mirror: Option<&'a Mirror>,
}

/// Makes the layers of one kind that a route asks for, mostly one or none. Wrong settings are told by their path from the
/// route's root.
pub(crate) type Planner = fn(&Subject<'_>, &mut Violations) -> Vec<Arc<dyn Plan>>;

/// A layer that does something only when a condition holds.
#[derive(Debug)]
pub(crate) struct When {
    condition: Condition,
    plan: Arc<dyn Plan>,
}

impl When {
    /// The plan itself, if it has no condition.
    pub(crate) fn wrap(condition: Option<Condition>, plan: Arc<dyn Plan>) -> Arc<dyn Plan> {
        match condition {
            Some(condition) => Arc::new(Self { condition, plan }),
            None => plan,
        }
    }
}

impl Plan for When {
    fn wrap(&self, inner: LocalService, site: &Site) -> LocalService {
        let (condition, with, without) = (self.condition.clone(), self.plan.wrap(inner.clone(), site), inner);
        LocalService::of(move |exchange| {
            if condition.holds((&exchange.request).into()) { with.answer(exchange) } else { without.answer(exchange) }
        })
    }
}

/// Puts layers around the inside of a site, the first outermost.
pub(crate) fn compose(layers: &[Arc<dyn Plan>], site: &Site) -> LocalService {
    layers.iter().rev().fold(site.inside.clone(), |inner, plan| plan.wrap(inner, site))
}
