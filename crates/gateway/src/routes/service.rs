//! The calls of `mcp.gateway.v1.RouteService`.

use std::{sync::Arc, time::SystemTime};

use mcp_coord::Coordinator;
use mcp_proto::{
    Code, Error,
    gateway::v1::{
        ApplyPolicyRequest, ApplyPolicyResponse, ApplyRouteRequest, ApplyRouteResponse, DeletePolicyRequest,
        DeletePolicyResponse, DeleteRouteRequest, DeleteRouteResponse, GetPolicyRequest, GetPolicyResponse,
        GetRouteRequest, GetRouteResponse, ListPoliciesRequest, ListPoliciesResponse, ListRoutesRequest,
        ListRoutesResponse, Policy, Route, route_service_server::RouteService,
    },
};
use tonic::{Request, Response, Status};

use super::{
    follow::Routes,
    store::{Page, Store, Stored},
};

/// Records on a page that names no size, and most on any.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Most routes that a refusal names.
const NAMED_MAX: usize = 5;

/// The service behind the wire.
#[derive(Debug)]
pub(crate) struct Service {
    store: Store,
    routes: Routes,
}

impl Service {
    /// Reads and writes the records of `cluster`; `routes` is what is in force.
    pub(crate) fn new(coord: Arc<dyn Coordinator>, cluster: &str, routes: Routes) -> Self {
        Self { store: Store::new(coord, cluster, routes.clone()), routes }
    }

    async fn apply<R: Stored>(&self, record: &mut R, validate_only: bool) -> Result<(), Error> {
        *record.stamp().1 = Some(SystemTime::now().into());
        if validate_only { Ok(()) } else { self.store.put(record).await }
    }

    async fn list<R: Stored>(&self, size: u32, token: &str) -> Result<Page<R>, Error> {
        let size = match usize::try_from(size).unwrap_or(usize::MAX) {
            0 => PAGE_DEFAULT,
            size @ 1..=PAGE_MAX => size,
            size => return Err(Error::invalid("page_size", format!("is {size}, must be at most {PAGE_MAX}"))),
        };
        self.store.page(token, size).await
    }
}

/// Puts the name of the field that holds the record before the fields that are wrong.
fn within(root: &str, error: &Error) -> Error {
    if error.code() != Code::InvalidArgument {
        return error.clone();
    }
    let mut violations = error.violations().iter();
    let field = |field: &str| format!("{root}.{field}");
    let Some(first) = violations.next() else {
        return error.clone();
    };
    let begun = Error::invalid(field(&first.field), &first.description);
    violations.fold(begun, |error, violation| error.with_violation(field(&violation.field), &violation.description))
}

fn missing(field: &str) -> Error {
    Error::invalid(field, "must be there")
}

#[tonic::async_trait]
impl RouteService for Service {
    async fn list_routes(&self, request: Request<ListRoutesRequest>) -> Result<Response<ListRoutesResponse>, Status> {
        let ListRoutesRequest { page_size, page_token } = request.into_inner();
        let Page { records, next } = self.list::<Route>(page_size, &page_token).await?;
        let problems = self.routes.view().problems.clone();
        let next_page_token = next.unwrap_or_default();
        Ok(Response::new(ListRoutesResponse { routes: records, next_page_token, problems }))
    }

    async fn get_route(&self, request: Request<GetRouteRequest>) -> Result<Response<GetRouteResponse>, Status> {
        let route = self.store.get(&request.into_inner().id).await?;
        Ok(Response::new(GetRouteResponse { route: Some(route) }))
    }

    async fn apply_route(&self, request: Request<ApplyRouteRequest>) -> Result<Response<ApplyRouteResponse>, Status> {
        let ApplyRouteRequest { route, validate_only } = request.into_inner();
        let mut route = route.ok_or_else(|| missing("route"))?;
        self.store.check_route(&route).await.map_err(|error| within("route", &error))?;
        self.apply(&mut route, validate_only).await?;
        Ok(Response::new(ApplyRouteResponse { route: Some(route) }))
    }

    async fn delete_route(
        &self,
        request: Request<DeleteRouteRequest>,
    ) -> Result<Response<DeleteRouteResponse>, Status> {
        let DeleteRouteRequest { id, version } = request.into_inner();
        self.store.delete::<Route>(&id, version).await?;
        Ok(Response::new(DeleteRouteResponse {}))
    }

    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        let ListPoliciesRequest { page_size, page_token } = request.into_inner();
        let Page { records, next } = self.list::<Policy>(page_size, &page_token).await?;
        Ok(Response::new(ListPoliciesResponse { policies: records, next_page_token: next.unwrap_or_default() }))
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        let policy = self.store.get(&request.into_inner().id).await?;
        Ok(Response::new(GetPolicyResponse { policy: Some(policy) }))
    }

    async fn apply_policy(
        &self,
        request: Request<ApplyPolicyRequest>,
    ) -> Result<Response<ApplyPolicyResponse>, Status> {
        let ApplyPolicyRequest { policy, validate_only } = request.into_inner();
        let mut policy = policy.ok_or_else(|| missing("policy"))?;
        self.store.check_policy(&policy).await.map_err(|error| within("policy", &error))?;
        self.apply(&mut policy, validate_only).await?;
        Ok(Response::new(ApplyPolicyResponse { policy: Some(policy) }))
    }

    async fn delete_policy(
        &self,
        request: Request<DeletePolicyRequest>,
    ) -> Result<Response<DeletePolicyResponse>, Status> {
        let DeletePolicyRequest { id, version } = request.into_inner();
        let users = self.store.routes_with(&id).await?;
        if !users.is_empty() {
            let names: Vec<_> = users.iter().take(NAMED_MAX).map(|route| format!("`{}`", route.id)).collect();
            let more = if users.len() > NAMED_MAX { ", …" } else { "" };
            let text = format!("the policy `{id}` is named by routes: {}{more}; change them first", names.join(", "));
            return Err(Error::new(Code::FailedPrecondition, text).into());
        }
        self.store.delete::<Policy>(&id, version).await?;
        Ok(Response::new(DeletePolicyResponse {}))
    }
}
