//! Reflection of everything, by one service.

use gateway::Config;
use prost_reflect::{DescriptorPool, prost::Message, prost_types::FileDescriptorProto};
use serde_json::json;
use testkit::eventually;
use tonic::{Code, transport::Channel};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use super::{SHOP, shop};
use crate::{
    dynamic::{self, codec},
    support::{Cluster, LIMIT, deregister, register},
};

/// Answers to these questions, on one stream.
async fn ask(channel: Channel, questions: Vec<MessageRequest>) -> Vec<MessageResponse> {
    let request = |question| ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let stream = tokio_stream::iter(questions.into_iter().map(request).collect::<Vec<_>>());
    let client = ServerReflectionClient::new(channel).server_reflection_info(stream).await;
    let (mut answers, mut found) = (client.unwrap().into_inner(), Vec::new());
    while let Some(answer) = answers.message().await.unwrap() {
        found.push(answer.message_response.unwrap());
    }
    found
}

async fn services(cluster: &Cluster) -> Vec<String> {
    match &ask(cluster.channel().await, vec![MessageRequest::ListServices(String::new())]).await[..] {
        [MessageResponse::ListServicesResponse(list)] => {
            list.service.iter().map(|service| service.name.clone()).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn listed(cluster: &Cluster, name: &str, is_there: bool) {
    eventually(LIMIT, || async {
        let services = services(cluster).await;
        if services.iter().any(|service| service == name) == is_there { Ok(()) } else { Err(format!("{services:?}")) }
    })
    .await;
}

/// What a client learns of a service, which asks as grpcurl does: for the symbol, then for what is missing.
async fn pull(cluster: &Cluster, symbol: &str) -> DescriptorPool {
    let answers = ask(cluster.channel().await, vec![MessageRequest::FileContainingSymbol(symbol.into())]).await;
    let [MessageResponse::FileDescriptorResponse(files)] = &answers[..] else { panic!("{answers:?}") };
    let mut pool = DescriptorPool::new();
    let files = files.file_descriptor_proto.iter();
    pool.add_file_descriptor_protos(files.map(|file| FileDescriptorProto::decode(file.as_slice()).unwrap())).unwrap();
    pool
}

#[tokio::test]
async fn a_service_is_called_by_what_the_gateway_tells_of_it_and_is_gone_when_it_leaves() {
    let cluster = Cluster::of_records(Config::default(), &[]).await;
    let own = services(&cluster).await;
    for name in ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "mcp.gateway.v1.RouteService"] {
        assert!(own.iter().any(|service| service == name), "{own:?}");
    }
    // Two teams, each with a file of the same name.
    let (first, second) = (shop("shop", SHOP).await, shop("other", &SHOP.replace("shop", "other")).await);
    for backend in [&first, &second] {
        register(&cluster.coord, &backend.record).await;
    }
    for (name, path) in [("shop.v1.Shop", "/shop.v1.Shop/Get"), ("other.v1.Shop", "/other.v1.Shop/Get")] {
        listed(&cluster, name, true).await;
        let pool = pull(&cluster, name).await;
        let method = pool.get_service_by_name(name).unwrap().methods().next().unwrap();
        let message = dynamic::message(&pool, method.input().full_name(), &json!({"id": "7"}));
        let answer = codec::call(cluster.channel().await, path, vec![message], method.output()).await.unwrap();
        assert_eq!(answer[0].get_field_by_name("id").unwrap().as_str(), Some("7"));
    }
    deregister(&cluster.coord, &first.record).await;
    listed(&cluster, "shop.v1.Shop", false).await;
    let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.into());
    let answers = ask(cluster.channel().await, vec![symbol("shop.v1.Order"), symbol("other.v1.Order")]).await;
    let [MessageResponse::ErrorResponse(error), MessageResponse::FileDescriptorResponse(_)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(error.error_code, Code::NotFound as i32, "{error:?}");
    assert_eq!([&own[..], &["other.v1.Shop".to_owned()]].concat().len(), services(&cluster).await.len());
}

#[tokio::test]
async fn the_older_version_tells_the_same() {
    let backend = shop("shop", SHOP).await;
    let cluster = Cluster::of_records(Config::default(), &[&backend.record]).await;
    listed(&cluster, "shop.v1.Shop", true).await;
    let question = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol("shop.v1.Shop.Get".into());
    let request = v1alpha::ServerReflectionRequest { host: "h".into(), message_request: Some(question) };
    let channel = cluster.channel().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::iter([request.clone()])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!((answer.valid_host.as_str(), &answer.original_request), ("h", &Some(request)));
    let Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) =
        answer.message_response
    else {
        panic!("{:?}", answer.message_response)
    };
    let MessageResponse::FileDescriptorResponse(newer) =
        &ask(cluster.channel().await, vec![MessageRequest::FileContainingSymbol("shop.v1.Shop.Get".into())]).await[0]
    else {
        panic!("no files")
    };
    assert_eq!(files.file_descriptor_proto, newer.file_descriptor_proto);
    assert!(answers.message().await.unwrap().is_none());
}
