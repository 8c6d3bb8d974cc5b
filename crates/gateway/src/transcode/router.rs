//! All HTTP routes, immutable once built: which gRPC method a request is for.

use std::sync::Arc;

use http::Method;
use prost_reflect::{DescriptorPool, ServiceDescriptor};

use super::{
    rules::{self, Route, RuleError},
    trie::{Found, Trie},
};

/// The routes of some services. Build another one to change it.
#[derive(Debug, Default)]
pub(crate) struct Router {
    routes: Trie<Arc<Route>>,
}

impl Router {
    /// The routes of every service of a pool.
    ///
    /// # Errors
    /// The first rule that cannot be used, or that accepts the same requests as another.
    pub(crate) fn of_pool(pool: &DescriptorPool) -> Result<Self, RuleError> {
        let mut router = Self::default();
        for service in pool.services() {
            router.add(&service)?;
        }
        Ok(router)
    }

    /// Adds the routes of one service.
    ///
    /// # Errors
    /// See [`of_pool`](Self::of_pool); the routes before the wrong one stay.
    pub(crate) fn add(&mut self, service: &ServiceDescriptor) -> Result<(), RuleError> {
        for route in rules::routes(service)? {
            let method = route.rpc.full_name().to_owned();
            let (template, http_method) = (route.template.clone(), route.http_method.clone());
            self.routes
                .insert(&template, http_method, Arc::new(route))
                .map_err(|other| RuleError::Conflict { method, other: other.rpc.full_name().to_owned() })?;
        }
        Ok(())
    }

    /// Finds the route of a request by its method and path, without the query.
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'_, 'p, Arc<Route>> {
        self.routes.find(method, path)
    }
}
