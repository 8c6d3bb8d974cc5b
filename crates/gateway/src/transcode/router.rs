//! All HTTP routes, immutable once built: which gRPC method a request is for.

use std::sync::Arc;

use http::Method;

use super::{
    rules::{Route, RuleError},
    trie::{Found, Trie},
};

/// The routes of some services. Build another one to change it.
#[derive(Debug, Default)]
pub(crate) struct Router {
    routes: Trie<Arc<Route>>,
}

impl Router {
    /// Adds a route.
    ///
    /// # Errors
    /// [`RuleError::Conflict`] when another accepts the same requests, which stays.
    pub(crate) fn insert(&mut self, route: Arc<Route>) -> Result<(), RuleError> {
        let method = route.rpc.full_name().to_owned();
        let (template, http_method) = (route.template.clone(), route.http_method.clone());
        self.routes
            .insert(&template, http_method, route)
            .map_err(|other| RuleError::Conflict { method, other: other.rpc.full_name().to_owned() })
    }

    /// Finds the route of a request by its method and path, without the query.
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'_, 'p, Arc<Route>> {
        self.routes.find(method, path)
    }
}
