//! Discover.

use mcp_proto::{
    Code,
    registry::v1::{DiscoverRequest, Instance},
};

use crate::support::{Registry, code, instance};

async fn discover(registry: &mut Registry, service: &str, grpc_service: &str) -> Vec<String> {
    let request = DiscoverRequest { service: service.to_owned(), grpc_service: grpc_service.to_owned() };
    let found = registry.client.discover(request).await.unwrap().into_inner().instances;
    let named = found.into_iter().map(|instance| format!("{}/{}", instance.service, instance.instance_id));
    named.filter(|name| !name.starts_with("registry/")).collect()
}

#[tokio::test]
async fn instances_are_filtered_and_sorted() {
    let mut registry = Registry::start().await;
    let serving = |service, id, grpc_service: &str| Instance {
        grpc_services: vec![grpc_service.to_owned()],
        ..instance(service, id)
    };
    for new in [
        serving("shop-b", "1", "shop.v1.Cart"),
        serving("shop", "2", "shop.v1.Cart"),
        serving("shop", "10", "shop.v1.Stock"),
        serving("shop", "1", "shop.v1.Cart"),
        instance("shop.b", "1"),
    ] {
        registry.register(new, 60).await;
    }
    let all = ["shop/1", "shop/10", "shop/2", "shop-b/1", "shop.b/1"];
    assert_eq!(discover(&mut registry, "", "").await, all);
    assert_eq!(discover(&mut registry, "shop", "").await, ["shop/1", "shop/10", "shop/2"]);
    assert_eq!(discover(&mut registry, "", "shop.v1.Cart").await, ["shop/1", "shop/2", "shop-b/1"]);
    assert_eq!(discover(&mut registry, "shop", "shop.v1.Cart").await, ["shop/1", "shop/2"]);
    assert!(discover(&mut registry, "sho", "").await.is_empty());
    assert!(discover(&mut registry, "", "shop.v1").await.is_empty());
}

#[tokio::test]
async fn filters_that_can_match_nothing_are_refused() {
    let mut registry = Registry::start().await;
    for (service, grpc_service) in [("a/b", ""), ("", "/shop.v1.Cart/Add")] {
        let request = DiscoverRequest { service: service.to_owned(), grpc_service: grpc_service.to_owned() };
        assert_eq!(code(registry.client.discover(request).await), Code::InvalidArgument);
    }
}
