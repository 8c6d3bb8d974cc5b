use std::sync::Arc;

use mcp_client::discovery::Instances;
use prost_reflect::{prost::Message, prost_types::FileDescriptorProto};

use super::*;
use crate::descriptors::{Known, Snapshot, identity::tests::pool, live::Live, schema::Schema};

/// Services with these files, all of them registered.
fn shown(pools: &[DescriptorPool]) -> Shown {
    let (mut known, mut names) = (Vec::new(), Vec::new());
    for pool in pools {
        let of: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
        let schema = Arc::new(Schema::of_pool(pool.clone(), &of, 0));
        known.extend(
            schema.services.values().map(|service| Known { service: Arc::clone(service), schema: Arc::clone(&schema) }),
        );
        names.extend(of);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let live = Arc::new(Live::of(&Instances::new([]), &names));
    Shown { snapshot: Arc::new(Snapshot::new(known)), live }
}

fn index(pools: &[DescriptorPool]) -> Index {
    Index::new(&shown(pools), &own_pools().unwrap())
}

/// A pool of the files of an answer: they must be complete.
fn told(index: &Index, question: &MessageRequest) -> DescriptorPool {
    let MessageResponse::FileDescriptorResponse(answer) = index.answer(question, &mut Told::default()) else {
        panic!("no files for {question:?}");
    };
    let mut pool = DescriptorPool::new();
    let files = answer.file_descriptor_proto.iter();
    let files = files.map(|encoded| FileDescriptorProto::decode(encoded.as_slice()).unwrap());
    pool.add_file_descriptor_protos(files).unwrap();
    pool
}

fn symbol(name: &str) -> MessageRequest {
    MessageRequest::FileContainingSymbol(name.into())
}

const COMMON: &str = "package common; message Money { string currency = 1; }";
const OTHER: &str = "package common; message Money { int64 cents = 1; }";

fn service(package: &str) -> String {
    format!(
        "package {package}; import \"common.proto\"; message Item {{ common.Money price = 1; enum Size {{ SMALL = 0; }} }}
         service Shop {{ rpc Get(Item) returns (Item); }}"
    )
}

#[test]
fn a_symbol_comes_with_all_that_it_needs_and_once_for_each_stream() {
    let index = index(&[pool(&[("shop.proto", &service("a")), ("common.proto", COMMON)])]);
    for name in ["a.Shop", "a.Shop.Get", "a.Item", "a.Item.price", "a.Item.Size", ".a.Item", "common.Money"] {
        let pool = told(&index, &symbol(name));
        assert!(pool.get_message_by_name("common.Money").is_some(), "{name}");
    }
    let mut told = Told::default();
    let count = |answer| match answer {
        MessageResponse::FileDescriptorResponse(files) => files.file_descriptor_proto.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(count(index.answer(&symbol("a.Shop"), &mut told)), 2);
    assert_eq!(count(index.answer(&symbol("a.Item"), &mut told)), 1, "what was asked for comes again, the rest not");
}

#[test]
fn files_of_one_name_that_differ_are_both_told() {
    let pools = [
        pool(&[("shop.proto", &service("a")), ("common.proto", COMMON)]),
        pool(&[("shop.proto", &service("b")), ("common.proto", OTHER)]),
        pool(&[("shop.proto", &service("c")), ("common.proto", COMMON)]),
    ];
    let index = index(&pools);
    for (name, field) in [("a.Shop", "currency"), ("b.Shop", "cents"), ("c.Shop", "currency")] {
        let pool = told(&index, &symbol(name));
        let money = pool.get_message_by_name("common.Money").unwrap();
        assert!(money.get_field_by_name(field).is_some(), "{name}");
        // And again when each file is asked for by its name.
        let file = pool.get_service_by_name(name).unwrap().parent_file();
        let by_name = told(&index, &MessageRequest::FileByFilename(file.name().to_owned()));
        assert!(by_name.get_service_by_name(name).is_some(), "{name}");
    }
    let names: HashSet<&str> = index.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names.len(), index.files.len(), "each name is there once");
    assert_eq!(names.iter().filter(|name| name.starts_with("common")).count(), 2, "equal files are one: {names:?}");
}

#[test]
fn options_and_extensions_survive() {
    let text = "package x; import \"google/api/annotations.proto\"; message M {}
        service S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/the/rule\" }; } }";
    let pools = [
        pool(&[("s.proto", "package a; message M {} service S { rpc Get(M) returns (M); }")]),
        pool(&[("s.proto", text)]),
    ];
    let index = index(&pools);
    // The second `s.proto` was given another name, and has its rule.
    let name = MessageRequest::FileContainingSymbol("x.S".into());
    let MessageResponse::FileDescriptorResponse(answer) = index.answer(&name, &mut Told::default()) else {
        panic!("no file");
    };
    let file = &answer.file_descriptor_proto[0];
    assert!(file.windows(9).any(|bytes| bytes == b"/the/rule"), "the rule is there");
    let method_options = "google.protobuf.MethodOptions";
    let all = index.answer(&MessageRequest::AllExtensionNumbersOfType(method_options.into()), &mut Told::default());
    let MessageResponse::AllExtensionNumbersResponse(all) = all else { panic!("{all:?}") };
    assert_eq!(all.extension_number, [72_295_728]);
    let asked = tonic_reflection::pb::v1::ExtensionRequest {
        containing_type: method_options.into(),
        extension_number: 72_295_728,
    };
    let pool = told(&index, &MessageRequest::FileContainingExtension(asked));
    assert!(pool.get_extension_by_name("google.api.http").is_some());
}

#[test]
fn what_is_not_there_is_not_found_and_the_gateways_own_is() {
    let mut shown = shown(&[pool(&[("s.proto", "package x; message M {} service S { rpc Get(M) returns (M); }")])]);
    let list = |shown: &Shown| Index::new(shown, &own_pools().unwrap()).services.into_iter().collect::<Vec<_>>();
    let own =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
    assert_eq!(list(&shown), [&own[..], &["x.S"]].concat());
    shown.live = Arc::default();
    assert_eq!(list(&shown), own, "nobody serves it any more");
    let index = Index::new(&shown, &own_pools().unwrap());
    let numbers = MessageRequest::AllExtensionNumbersOfType("x.M".into());
    for question in [symbol("x.S"), symbol(""), MessageRequest::FileByFilename("s.proto".into()), numbers] {
        let answer = index.answer(&question, &mut Told::default());
        assert!(matches!(answer, MessageResponse::ErrorResponse(error) if error.error_code == 5), "{question:?}");
    }
    assert!(
        told(&index, &symbol("grpc.health.v1.Health.Watch"))
            .get_message_by_name("grpc.health.v1.HealthCheckRequest")
            .is_some()
    );
}
