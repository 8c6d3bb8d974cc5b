use std::collections::BTreeSet;

use mcp_client::discovery::Instances;
use prost_reflect::DescriptorPool;

use super::*;
use crate::{
    config::SecuritySettings,
    descriptors::{Snapshot, identity::tests::pool, live::Live, schema::Schema},
};

/// The document of services with these files, all of them registered, at a gateway that keeps `/page`.
fn document_of(pools: &[DescriptorPool]) -> Value {
    let (mut known, mut names) = (Vec::new(), Vec::new());
    for pool in pools {
        let of: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
        let schema = Arc::new(Schema::of_pool(pool.clone(), &of, 0));
        let services = schema.services.values();
        known.extend(services.map(|service| Known { service: Arc::clone(service), schema: Arc::clone(&schema) }));
        names.extend(of);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["silent.v1.Service"]).collect();
    let live = Arc::new(Live::of(&Instances::new([]), &names));
    let shown = Shown { snapshot: Arc::new(Snapshot::new(known)), live };
    document(&shown, &Access::new(&SecuritySettings::default()), |path| path == "/page")
}

const BEHAVIOR: &str = "package google.api; import \"google/protobuf/descriptor.proto\";
    extend google.protobuf.FieldOptions { repeated FieldBehavior field_behavior = 1052; }
    enum FieldBehavior { FIELD_BEHAVIOR_UNSPECIFIED = 0; OPTIONAL = 1; REQUIRED = 2; OUTPUT_ONLY = 3; INPUT_ONLY = 4; IMMUTABLE = 5; }";

const SHOP: &str = r#"package shop.v1; import "behavior.proto"; import "google/api/annotations.proto";
    // Sells things.
    service Shop {
      // Changes an order. It must be there.
      rpc Change(Order) returns (Order) {
        option (google.api.http) = { put: "/shop/{id}/{place.street}" body: "*" };
      }
      rpc Find(Order) returns (Order) {
        option deprecated = true;
        option (google.api.http) = { get: "/shop/{secret}/{name}" additional_bindings { get: "/page" } };
      }
      rpc Purge(Order) returns (Order) { option (google.api.http) = { custom { kind: "PURGE" path: "/shop" } }; }
      rpc Every(Order) returns (Order) { option (google.api.http) = { custom { kind: "*" path: "/every" } }; }
      rpc Talk(stream Order) returns (stream Order) { option (google.api.http) = { post: "/talk" body: "*" }; }
      rpc Watch(Order) returns (stream Order) { option (google.api.http) = { get: "/watch" }; }
    }
    // What somebody wants.
    message Order {
      // Names it.
      string id = 1 [(google.api.field_behavior) = REQUIRED, (google.api.field_behavior) = IMMUTABLE];
      string name = 2 [(google.api.field_behavior) = REQUIRED];
      int64 revision = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
      string secret = 4 [(google.api.field_behavior) = INPUT_ONLY, deprecated = true];
      Place place = 5;
      oneof way { string post = 6; int32 pigeons = 7; }
      optional string note = 8;
      // How large.
      enum Size { SMALL = 0; LARGE = 1; // Very.
      }
      Size size = 9;
    }
    message Place { string street = 1 [(google.api.field_behavior) = REQUIRED]; string town = 2; }"#;

fn shop() -> Value {
    document_of(&[pool(&[("shop.proto", SHOP), ("behavior.proto", BEHAVIOR)])])
}

#[test]
fn comments_and_behaviour_of_fields_are_told() {
    let document = shop();
    let order = &document["components"]["schemas"]["shop.v1.Order"];
    assert_eq!((&order["description"], &order["required"]), (&json!("What somebody wants."), &json!(["id", "name"])));
    let of = |name: &str| &order["properties"][name];
    assert_eq!(of("id"), &json!({"type": "string", "description": "Names it.", "x-mcp-immutable": true}));
    assert_eq!(of("revision")["readOnly"], true);
    assert_eq!((&of("secret")["writeOnly"], &of("secret")["deprecated"]), (&json!(true), &json!(true)));
    assert_eq!(of("place")["$ref"], "#/components/schemas/shop.v1.Place");
    let way = json!([{"required": ["post"]}, {"required": ["pigeons"]},
        {"not": {"anyOf": [{"required": ["post"]}, {"required": ["pigeons"]}]}}]);
    assert_eq!(order["allOf"], json!([{"oneOf": way}]), "and `optional` is no choice");
    let size = &document["components"]["schemas"]["shop.v1.Order.Size"];
    assert_eq!((&size["enum"], &size["description"]), (&json!(["SMALL", "LARGE"]), &json!("How large.")));
    assert_eq!(size["x-mcp-values"], json!({"LARGE": "Very."}));
    assert_eq!(document["tags"][0]["description"], "Sells things.");
    assert_eq!(document["x-mcp-undescribed"], json!(["silent.v1.Service"]));
}

#[test]
fn a_body_need_not_have_what_the_path_sets() {
    let document = shop();
    let change = &document["paths"]["/shop/{id}/{place.street}"]["put"];
    assert_eq!((&change["summary"], &change["tags"]), (&json!("Changes an order"), &json!(["shop.v1.Shop"])));
    let names = |operation: &Value| {
        let all = operation["parameters"].as_array().unwrap();
        all.iter()
            .map(|parameter| format!("{} {}", parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(change), ["path id", "path place.street"]);
    let body = &change["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!((&body["required"], body["properties"].get("id")), (&json!(["name"]), None));
    let place = &body["properties"]["place"];
    assert_eq!(place["properties"], json!({"town": {"type": "string"}}));
    assert_eq!(place.get("required"), None);
    let by_name = &document["paths"]["/shop.v1.Shop/Change"]["post"];
    let whole = &by_name["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(whole, &json!({"$ref": "#/components/schemas/shop.v1.Order"}));
}

#[test]
fn every_way_to_call_has_its_place_and_an_id_of_its_own() {
    let document = shop();
    let paths = document["paths"].as_object().unwrap();
    // `/shop/{secret}/{name}` has the shape of `/shop/{id}/{place.street}`, so it stands there.
    assert!(!paths.contains_key("/shop/{secret}/{name}"));
    let find = &paths["/shop/{id}/{place.street}"]["get"];
    let parameters = find["parameters"].as_array().unwrap();
    let of = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name);
    assert_eq!((find["deprecated"].as_bool(), of("id").unwrap()["in"].as_str()), (Some(true), Some("path")));
    assert!(of("secret").is_none() && of("name").is_none(), "the path sets them under other names");
    assert!(of("revision").is_none(), "only answers have it");
    assert_eq!(of("place.town").unwrap()["in"], "query");
    assert!(!paths.contains_key("/page"), "the gateway keeps it");
    assert_eq!(paths["/shop"]["x-mcp-methods"]["PURGE"]["operationId"], "shop.v1.Shop.Purge");
    let every: Vec<&str> = paths["/every"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(every.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(EVERY));
    let items = paths.values().flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<&str> = items.filter_map(|operation| operation["operationId"].as_str()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    assert!(ids.contains(&"shop.v1.Shop.Change") && ids.contains(&"shop.v1.Shop.Change.byName"), "{ids:?}");
}

#[test]
fn streams_are_told_as_lines_events_and_sockets() {
    let document = shop();
    let watch = &document["paths"]["/watch"]["get"];
    let content = watch["responses"]["200"]["content"].as_object().unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), ["application/x-ndjson", "text/event-stream"]);
    assert_eq!(watch["x-mcp-grpc"], json!({"path": "/shop.v1.Shop/Watch", "streams": "server"}));
    let talk = &document["paths"]["/talk"];
    assert!(talk.get("post").is_none(), "HTTP has no way to stream both ways");
    let order = json!({"$ref": "#/components/schemas/shop.v1.Order"});
    let socket = &talk["get"]["x-mcp-websocket"];
    assert_eq!((&socket["send"], &socket["receive"], &socket["subprotocol"]), (&order, &order, &json!("mcp.json")));
    assert!(talk["get"]["responses"].get("101").is_some() && talk["get"]["responses"].get("200").is_none());
    assert!(document["paths"]["/shop.v1.Shop/Talk"]["get"]["x-mcp-websocket"].is_object());
}

#[test]
fn of_two_types_with_one_name_both_are_there() {
    let service = |package: &str| {
        format!(
            "package {package}; import \"common.proto\"; service S {{ rpc Get(common.Money) returns (common.Money); }}"
        )
    };
    let of = |package: &str, money: &str| {
        pool(&[
            ("s.proto", &service(package)),
            ("common.proto", &format!("package common; message Money {{ {money} }}")),
        ])
    };
    let document = document_of(&[of("a", "string x = 1;"), of("b", "int32 x = 1;"), of("c", "string x = 1;")]);
    let taken = |package: &str| {
        let reference = &document["paths"][format!("/{package}.S/Get")]["post"]["responses"]["200"];
        let reference = reference["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        document.pointer(reference.strip_prefix('#').unwrap()).unwrap()["properties"]["x"]["type"].clone()
    };
    assert_eq!((taken("a"), taken("b"), taken("c")), (json!("string"), json!("integer"), json!("string")));
    assert_eq!(document["components"]["schemas"].as_object().unwrap().len(), 3, "two of them, and the error");
}

#[test]
fn a_rule_that_another_service_has_is_not_told_twice() {
    let of = |package: &str| {
        pool(&[(
            "s.proto",
            &format!(
                "package {package}; import \"google/api/annotations.proto\"; message M {{}}
             service S {{ rpc Get(M) returns (M) {{ option (google.api.http) = {{ get: \"/same\" }}; }} }}"
            ),
        )])
    };
    let document = document_of(&[of("a"), of("b")]);
    assert_eq!(document["paths"]["/same"]["get"]["tags"], json!(["a.S"]));
    assert_eq!(document["paths"]["/b.S/Get"]["post"]["operationId"], "b.S.Get");
}

#[test]
fn the_ways_to_prove_who_one_is_follow_the_settings() {
    let shown = |settings: &SecuritySettings| {
        let nothing = Shown { snapshot: Arc::new(Snapshot::new([])), live: Arc::default() };
        document(&nothing, &Access::new(settings), |_| false)
    };
    let open = shown(&SecuritySettings { anonymous: true, ..SecuritySettings::default() });
    assert_eq!(open["security"], json!([{}, {"bearer": []}, {"apiKey": []}]));
    let mut settings = SecuritySettings::default();
    settings.tls.client_ca = Some("roots.pem".into());
    let closed = shown(&settings);
    assert_eq!(closed["security"], json!([{"bearer": []}, {"apiKey": []}, {"certificate": []}]));
    assert_eq!(closed["components"]["securitySchemes"]["certificate"]["type"], "mutualTLS");
    assert_eq!((&closed["paths"], &closed["tags"]), (&json!({}), &json!([])));
}
