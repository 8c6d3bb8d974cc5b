//! Routes and policies of the gateway.

use mcp_proto::{
    Error,
    gateway::v1::{
        ApplyPolicyRequest, ApplyRouteRequest, DeletePolicyRequest, DeleteRouteRequest, GetPolicyRequest,
        GetRouteRequest, ListPoliciesRequest, ListPoliciesResponse, ListRoutesRequest, ListRoutesResponse, Policy,
        Route,
    },
};

use super::{Client, call::present};

impl Client {
    /// Lists one page of routes, and what in the store cannot be used.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn routes(&self, request: ListRoutesRequest) -> Result<ListRoutesResponse, Error> {
        self.read().unary(request, |request| async { self.routes.clone().list_routes(request).await }).await
    }

    /// Reads one route.
    ///
    /// # Errors
    /// `NOT_FOUND`, and those of every call.
    pub async fn route(&self, id: &str) -> Result<Route, Error> {
        let request = GetRouteRequest { id: id.to_owned() };
        let answer =
            self.read().unary(request, |request| async { self.routes.clone().get_route(request).await }).await?;
        present(answer.route, "route")
    }

    /// Creates or replaces a route, if it is still at its version; without one, whatever is there. With
    /// `validate_only` it is checked and not stored.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with every wrong field, `ABORTED` when another write was first, and those of every call.
    pub async fn apply_route(&self, route: Route, validate_only: bool) -> Result<Route, Error> {
        let request = ApplyRouteRequest { route: Some(route), validate_only };
        let answer =
            self.write().unary(request, |request| async { self.routes.clone().apply_route(request).await }).await?;
        present(answer.route, "route")
    }

    /// Removes a route.
    ///
    /// # Errors
    /// `NOT_FOUND`, and those of every call.
    pub async fn delete_route(&self, id: &str) -> Result<(), Error> {
        let request = DeleteRouteRequest { id: id.to_owned(), version: 0 };
        let call = self.write();
        call.unary(request, |request| async { self.routes.clone().delete_route(request).await }).await.map(drop)
    }

    /// Lists one page of policies.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn policies(&self, request: ListPoliciesRequest) -> Result<ListPoliciesResponse, Error> {
        self.read().unary(request, |request| async { self.routes.clone().list_policies(request).await }).await
    }

    /// Reads one policy.
    ///
    /// # Errors
    /// `NOT_FOUND`, and those of every call.
    pub async fn policy(&self, id: &str) -> Result<Policy, Error> {
        let request = GetPolicyRequest { id: id.to_owned() };
        let answer =
            self.read().unary(request, |request| async { self.routes.clone().get_policy(request).await }).await?;
        present(answer.policy, "policy")
    }

    /// Creates or replaces a policy; see [`apply_route`](Self::apply_route).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with every wrong field, `ABORTED` when another write was first, and those of every call.
    pub async fn apply_policy(&self, policy: Policy, validate_only: bool) -> Result<Policy, Error> {
        let request = ApplyPolicyRequest { policy: Some(policy), validate_only };
        let answer =
            self.write().unary(request, |request| async { self.routes.clone().apply_policy(request).await }).await?;
        present(answer.policy, "policy")
    }

    /// Removes a policy that no route names.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FAILED_PRECONDITION` when a route names it, and those of every call.
    pub async fn delete_policy(&self, id: &str) -> Result<(), Error> {
        let request = DeletePolicyRequest { id: id.to_owned(), version: 0 };
        let call = self.write();
        call.unary(request, |request| async { self.routes.clone().delete_policy(request).await }).await.map(drop)
    }
}
