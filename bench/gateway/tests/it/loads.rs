//! What a load tells of a backend that answers as it should.

use gateway_bench::{
    load::{self, Idle, Report},
    message, process,
};

use crate::{backend, target};

fn check(report: &Report) {
    assert!(report.done > 0 && report.per_second > 0.0, "{report:?}");
    assert!(report.p50 <= report.p99 && report.p99 <= report.p999 && report.p999 <= report.max, "{report:?}");
    assert!(report.resident_mib.is_some_and(|mib| mib > 1.0), "{report:?}");
}

#[tokio::test]
async fn unary_calls_are_answered_and_counted() {
    check(&load::unary(target(backend().await), 2, 2).await.unwrap());
}

#[tokio::test]
async fn paced_calls_are_answered_and_counted() {
    check(&load::paced(target(backend().await), 2, 500).await.unwrap());
}

#[tokio::test]
async fn streams_carry_messages_there_and_back() {
    check(&load::streams(target(backend().await), 2, 4).await.unwrap());
}

#[tokio::test]
async fn idle_connections_stay_open_and_are_counted() {
    let idle = Idle::open(backend().await, 120).await.unwrap();
    assert_eq!(idle.count(), 120);
}

#[tokio::test]
async fn nobody_there_is_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = load::unary(target(address), 1, 1).await.unwrap_err();
    assert!(format!("{error:#}").contains("cannot connect"), "{error:#}");
}

#[test]
fn a_process_counts_itself_and_its_children() {
    let me = std::process::id();
    assert!(process::resident(me).unwrap() > 0);
    process::cpu(me).unwrap();
    assert!(process::cpu(u32::MAX).is_err());
}

#[test]
fn a_message_is_a_whole_frame() {
    for frame in [message::unary(), message::streamed()] {
        assert_eq!(frame[0], 0, "not compressed");
        assert_eq!(u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize, frame.len() - 5);
    }
}
