use mcp_client::discovery::Instances;

use super::*;
use crate::descriptors::{built_in, schema::Files};

const NAME: &str = "google.protobuf.Any";

fn record(service: &str, version: &str, id: &str, registered_unix_ms: u64) -> Arc<InstanceRecord> {
    Arc::new(InstanceRecord {
        service: service.into(),
        instance_id: id.into(),
        address: format!("{id}:1"),
        version: version.into(),
        zone: String::new(),
        weight: 100,
        grpc_services: vec![format!("test.{service}.v1.Service"), "grpc.health.v1.Health".into()],
        labels: Default::default(),
        registered_unix_ms,
    })
}

/// Descriptors of a service with one method, which has this name.
fn schema(service: &str, method: &str) -> Result<Schema, String> {
    use prost_reflect::{
        prost::Message,
        prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto},
    };
    let rpc = MethodDescriptorProto {
        name: Some(method.into()),
        input_type: Some(format!(".{NAME}")),
        output_type: Some(format!(".{NAME}")),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some(format!("{service}.proto")),
        package: Some(format!("test.{service}.v1")),
        dependency: vec!["google/protobuf/any.proto".into()],
        syntax: Some("proto3".into()),
        service: vec![ServiceDescriptorProto { name: Some("Service".into()), method: vec![rpc], ..Default::default() }],
        ..Default::default()
    };
    let any = prost_reflect::DescriptorPool::global().get_file_by_name("google/protobuf/any.proto").unwrap();
    let mut files = Files::default();
    files.insert(any.name().to_owned(), any.encode_to_vec().into());
    files.insert(file.name().to_owned(), file.encode_to_vec().into());
    Schema::compile(&files, &[format!("test.{service}.v1.Service")]).map_err(|error| error.to_string())
}

fn catalog(records: &[&Arc<InstanceRecord>]) -> Catalog {
    let mut catalog = Catalog::new(built_in().unwrap());
    catalog.update(&instances(records));
    catalog
}

fn instances(records: &[&Arc<InstanceRecord>]) -> Instances {
    Instances::new(records.iter().map(|record| Arc::clone(record)))
}

fn has(catalog: &Catalog, service: &str, method: &str) -> bool {
    catalog.snapshot().method(&format!("/test.{service}.v1.Service/{method}")).is_some()
}

#[test]
fn the_newest_instance_of_each_version_is_asked_once() {
    let now = Instant::now();
    let records =
        [record("a", "1", "old", 1), record("a", "1", "new", 2), record("a", "2", "next", 3), record("b", "1", "b", 1)];
    let mut catalog = catalog(&records.iter().collect::<Vec<_>>());
    let questions = catalog.due(now);
    let addresses: Vec<&str> = questions.iter().map(|question| question.address.as_str()).collect();
    assert_eq!(addresses, ["new:1", "next:1", "b:1"]);
    assert_eq!(questions[0].services, ["test.a.v1.Service"], "infrastructure is not asked for");
    assert!(!catalog.is_complete() && catalog.due(now).is_empty());
    for question in &questions {
        let method = if question.key.version == "2" { "Second" } else { "First" };
        assert!(catalog.answered(question, schema(&question.key.service, method), now, 0.0));
    }
    assert!(catalog.is_complete() && catalog.next_due(now).is_none());
    // Of two versions, the last registered counts.
    assert!(has(&catalog, "a", "Second") && !has(&catalog, "a", "First") && has(&catalog, "b", "First"));
    assert!(!catalog.answered(&questions[2], schema("b", "First"), now, 0.0), "the same again changes nothing");
}

#[test]
fn of_two_versions_that_run_the_newer_counts_whichever_registered_last() {
    let now = Instant::now();
    let records = [record("a", "1.10.0", "new", 1), record("a", "1.9.0", "old", 2)];
    let mut catalog = catalog(&records.iter().collect::<Vec<_>>());
    for question in catalog.due(now) {
        let method = if question.key.version == "1.10.0" { "Tenth" } else { "Ninth" };
        catalog.answered(&question, schema("a", method), now, 0.0);
    }
    assert!(has(&catalog, "a", "Tenth") && !has(&catalog, "a", "Ninth"));
    catalog.update(&instances(&[&records[1]]));
    assert!(has(&catalog, "a", "Ninth"), "only the older one runs");
}

#[test]
fn a_new_registration_is_asked_again_but_not_at_once() {
    let now = Instant::now();
    let mut catalog = catalog(&[&record("a", "1", "x", 1)]);
    let question = catalog.due(now).remove(0);
    catalog.answered(&question, schema("a", "First"), now, 0.0);
    assert!(catalog.due(now + RETRY_MAX * 10).is_empty());
    catalog.update(&instances(&[&record("a", "1", "x", 2)]));
    assert!(catalog.due(now).is_empty());
    assert_eq!(catalog.next_due(now), Some(now + ASK_INTERVAL));
    let question = catalog.due(now + ASK_INTERVAL).remove(0);
    assert!(catalog.answered(&question, schema("a", "Second"), now + ASK_INTERVAL, 0.0));
    assert!(has(&catalog, "a", "Second") && !has(&catalog, "a", "First"));
}

#[test]
fn failures_back_off_go_round_and_take_nothing_away() {
    let mut now = Instant::now();
    let records = [record("a", "1", "x", 1), record("a", "1", "y", 2)];
    let mut catalog = catalog(&records.iter().collect::<Vec<_>>());
    let question = catalog.due(now).remove(0);
    catalog.answered(&question, schema("a", "First"), now, 0.0);
    catalog.update(&instances(&[&records[0], &record("a", "1", "y", 3)]));
    let mut asked = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..10 {
        now = catalog.next_due(now).unwrap().max(now);
        let question = catalog.due(now).remove(0);
        assert!(!catalog.answered(&question, Err("away".into()), now, 0.0));
        asked.push(question.address);
        waits.push(catalog.next_due(now).unwrap() - now);
        assert!(has(&catalog, "a", "First"));
    }
    assert_eq!(asked[..4], ["y:1", "x:1", "y:1", "x:1"]);
    assert_eq!((waits[0], waits[1], waits[9]), (RETRY_MIN, RETRY_MIN * 2, RETRY_MAX));
    let view = catalog.view();
    assert_eq!((view[0].failures, view[0].error.as_deref(), view[0].instances), (10, Some("away"), 2));
    let wait = |jitter| {
        let mut catalog = self::catalog(&[&records[0]]);
        let question = catalog.due(now).remove(0);
        catalog.answered(&question, Err("away".into()), now, jitter);
        catalog.next_due(now).unwrap() - now
    };
    assert_eq!((wait(0.0), wait(1.0)), (RETRY_MIN, RETRY_MIN / 2));
}

#[test]
fn a_service_without_instances_stays_known_and_yields_to_one_that_has_some() {
    let now = Instant::now();
    let mut catalog = catalog(&[&record("a", "1", "x", 1), &record("never", "1", "n", 1)]);
    for question in catalog.due(now) {
        let outcome = if question.key.service == "a" { schema("a", "First") } else { Err("away".into()) };
        catalog.answered(&question, outcome, now, 0.0);
    }
    assert!(catalog.update(&instances(&[])));
    assert!(has(&catalog, "a", "First"));
    assert_eq!(catalog.view().len(), 1, "nothing was known of the other");
    assert_eq!((catalog.due(now).len(), catalog.next_due(now)), (0, None));
    // An older build comes up again: it runs, the newer does not.
    catalog.update(&instances(&[&record("a", "0", "x", 0)]));
    let question = catalog.due(now).remove(0);
    catalog.answered(&question, schema("a", "Zeroth"), now, 0.0);
    assert!(has(&catalog, "a", "Zeroth"));
}

#[test]
fn what_is_remembered_is_bounded() {
    let now = Instant::now();
    let mut catalog = catalog(&[]);
    let shared = schema("a", "First").unwrap();
    drop(shared);
    for number in 0..FORMER_MAX + 20 {
        let version = number.to_string();
        catalog.update(&instances(&[&record("a", &version, "x", number as u64)]));
        let question = catalog.due(now).remove(0);
        catalog.answered(&question, schema("a", "First"), now, 0.0);
    }
    catalog.update(&instances(&[]));
    assert_eq!(catalog.view().len(), FORMER_MAX);
    assert_eq!(catalog.schemas.len(), 1, "versions with the same files share what they have");
    let many: Vec<_> = (0..ASKED_MAX + 5).map(|number| record(&format!("s{number}"), "1", "x", 1)).collect();
    catalog.update(&instances(&many.iter().collect::<Vec<_>>()));
    assert_eq!(catalog.due(now).len(), ASKED_MAX);
}

#[test]
fn our_own_services_are_not_asked_for() {
    let mut own = (*record("scheduler", "1", "s", 1)).clone();
    own.grpc_services = vec!["mcp.scheduler.v1.TaskService".into(), "grpc.reflection.v1.ServerReflection".into()];
    let mut catalog = catalog(&[&Arc::new(own)]);
    assert!(catalog.due(Instant::now()).is_empty() && catalog.is_complete());
    assert!(catalog.snapshot().has_service("mcp.scheduler.v1.TaskService"));
}
