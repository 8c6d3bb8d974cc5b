//! Many routes, written through the gateway's own interface.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mcp_proto::gateway::v1::{
    ApplyRouteRequest, Forward, GrpcMatch, PathMatch, Route, RouteMatch, Target, ValueMatch, path_match::Kind,
    route::Action, route_service_client::RouteServiceClient,
};
use tonic::transport::Channel;

use crate::message::SERVICE;

/// Writes under way at a time.
const WRITES_MAX: usize = 16;
/// The route that takes the load.
pub const ECHO: &str = "echo";

/// A client of the gateway's routes.
///
/// # Errors
/// When the gateway cannot be reached.
pub async fn client(url: &str) -> anyhow::Result<RouteServiceClient<Channel>> {
    Ok(RouteServiceClient::new(Channel::from_shared(url.to_owned())?.connect().await?))
}

/// Writes so many routes. One of them takes the calls of the load, the others are of every kind.
///
/// # Errors
/// When the gateway refuses one.
pub async fn write(url: &str, count: usize) -> anyhow::Result<()> {
    let client = client(url).await?;
    let routes = (1..count).map(other).chain([echo()]);
    stream::iter(routes)
        .map(|route| {
            let mut client = client.clone();
            async move { client.apply_route(ApplyRouteRequest { route: Some(route), validate_only: false }).await }
        })
        .buffer_unordered(WRITES_MAX)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// The route that takes the calls of the load.
pub fn echo() -> Route {
    let grpc = GrpcMatch { service: SERVICE.to_owned(), method: String::new() };
    let matched = RouteMatch { grpc: Some(grpc), ..RouteMatch::default() };
    Route { id: ECHO.to_owned(), r#match: Some(matched), ..Route::default() }
}

/// A route that takes no call of the load; every fifth is of the same kind.
fn other(number: usize) -> Route {
    let path = |kind| Some(PathMatch { kind: Some(kind) });
    let matched = match number % 5 {
        0 => RouteMatch { path: path(Kind::Prefix(format!("/team-{number}/shop"))), ..RouteMatch::default() },
        1 => {
            let template = format!("/v1/tenants-{number}/{{tenant}}/items/{{item=**}}");
            RouteMatch { path: path(Kind::Template(template)), methods: vec!["GET".into()], ..RouteMatch::default() }
        }
        2 => RouteMatch {
            hosts: vec![format!("shop-{number}.example.com")],
            path: path(Kind::Exact("/index".into())),
            ..RouteMatch::default()
        },
        3 => RouteMatch { grpc: grpc_of(number), ..RouteMatch::default() },
        _ => {
            // These lie on the path of the load: only the header tells them from its route.
            let tenant = mcp_proto::gateway::v1::value_match::Kind::Exact(format!("tenant-{number}"));
            let header = ValueMatch { name: "x-tenant".into(), kind: Some(tenant) };
            RouteMatch {
                grpc: Some(GrpcMatch { service: SERVICE.to_owned(), method: "Echo".to_owned() }),
                headers: vec![header],
                ..RouteMatch::default()
            }
        }
    };
    let targets = vec![Target { service: ECHO.to_owned(), weight: 1 }];
    let action = Action::Forward(Forward { targets, ..Forward::default() });
    Route { id: format!("route-{number}"), r#match: Some(matched), action: Some(action), ..Route::default() }
}

fn grpc_of(number: usize) -> Option<GrpcMatch> {
    Some(GrpcMatch { service: format!("acme.shop_{number}.v1.ShopService"), method: "Get".to_owned() })
}
