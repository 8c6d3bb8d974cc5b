use std::{collections::HashSet, time::Duration};

use proptest::prelude::*;
use tonic::Status;

use super::{Code, Error};
use crate::common::v1;

fn any_error() -> impl Strategy<Value = Error> {
    let code = prop::sample::select(Code::ALL);
    let wait = prop::option::of((0_u64..86_400, 0_u32..1_000_000_000));
    let pairs = prop::collection::vec((".{1,12}", ".{0,12}"), 0..4);
    (code, ".{0,40}", wait, pairs.clone(), pairs).prop_map(|(code, message, wait, fields, metadata)| {
        let mut error = Error::new(code, message);
        if let Some((secs, nanos)) = wait {
            error = error.with_retry_after(Duration::new(secs, nanos));
        }
        for (field, description) in fields {
            error = error.with_violation(field, description);
        }
        for (key, value) in metadata {
            error = error.with_metadata(key, value);
        }
        error
    })
}

proptest! {
    #[test]
    fn a_status_carries_the_whole_error(error in any_error()) {
        let status = Status::from(error.clone());
        prop_assert_eq!(status.code(), error.code().grpc());
        prop_assert_eq!(Error::from(&status), error);
    }

    #[test]
    fn a_message_carries_the_whole_error(error in any_error()) {
        prop_assert_eq!(Error::from(v1::Error::from(error.clone())), error);
    }
}

#[test]
fn numbers_and_names_are_unique_and_lead_back() {
    let numbers: HashSet<u32> = Code::ALL.iter().map(|code| code.number()).collect();
    let names: HashSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!((numbers.len(), names.len()), (Code::ALL.len(), Code::ALL.len()));
    for &code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), Some(code));
        assert_eq!(Code::from_name(code.name()), Some(code));
    }
}

#[test]
fn the_number_ranges_say_whose_fault_it_is() {
    for &code in Code::ALL {
        let expected = match code.number() {
            1000..2000 => 400..=504,
            2000..3000 => 500..=503,
            3000..4000 => 422..=422,
            number => panic!("{number} is in no range"),
        };
        assert!(expected.contains(&code.http()), "{} is HTTP {}", code.name(), code.http());
    }
}

#[test]
fn a_foreign_status_gets_the_nearest_entry() {
    let error = Error::from(&Status::not_found("no such book"));
    assert_eq!((error.code(), error.message()), (Code::NotFound, "no such book"));
}

#[test]
fn a_timeout_of_tonic_is_a_passed_deadline() {
    let error = Error::from(&Status::cancelled("Timeout expired"));
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

#[test]
fn an_error_body_has_the_documented_shape() {
    let error = Error::invalid("task.process.argv", "must not be empty");
    let body = error.to_json();
    assert_eq!(body["code"], 1001);
    assert_eq!(body["name"], "INVALID_ARGUMENT");
    assert_eq!(body["message"], "`task.process.argv` must not be empty");
    assert_eq!(body["retryable"], false);
    assert_eq!(body["details"][0]["fieldViolations"][0]["field"], "task.process.argv");
}

#[test]
fn docs_list_the_whole_catalogue() {
    let docs = include_str!("../../../../docs/protocol/errors.md");
    for &code in Code::ALL {
        let row = format!(
            "| {} | `{}` | {:?} | {} | {} | {} |",
            code.number(),
            code.name(),
            code.grpc(),
            code.http(),
            if code.retryable() { "yes" } else { "no" },
            code.text()
        );
        assert!(docs.contains(&row), "docs/protocol/errors.md lacks this row:\n{row}");
    }
}
