use std::sync::Arc;

use futures_util::FutureExt as _;
use mcp_proto::{
    TaskId,
    scheduler::v1::Progress,
    worker::v1::{AttemptLogLine, AttemptResult, OpenSessionRequest},
};

use super::{Book, Logged, Report, SessionId, Signals, UNACKED_MAX};
use crate::worker::{
    attempt::{AttemptKey, FencingToken},
    queue::LOG_BYTES_MAX,
    stop::{Stop, StopReason},
};

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);

fn key(task: u16) -> AttemptKey {
    AttemptKey { task: TaskId::new(u64::from(task), 0, 0, 0), token: FencingToken { epoch: 1, sequence: 1 } }
}

fn result(task: u16) -> Report {
    Report::Result(AttemptResult { attempt: Some(key(task).to_ref()), ..AttemptResult::default() })
}

fn line(text: &str) -> AttemptLogLine {
    AttemptLogLine { text: text.to_owned(), ..AttemptLogLine::default() }
}

/// A book with these sessions, none of them joined.
fn book(slots: usize, sessions: &[SessionId]) -> (Book, Vec<Arc<Signals>>) {
    let mut book = Book::new(slots);
    let signals: Vec<Arc<Signals>> = sessions.iter().map(|_| Arc::default()).collect();
    for (id, signals) in sessions.iter().zip(&signals) {
        book.add(*id, Arc::clone(signals));
    }
    book.share_out(sessions);
    (book, signals)
}

fn assign(book: &mut Book, id: SessionId, task: u16) -> Arc<Stop> {
    let stop = Arc::new(Stop::default());
    assert!(book.assign(id, key(task), &stop));
    book.check();
    stop
}

fn say(book: &mut Book, id: SessionId) -> OpenSessionRequest {
    let request = book.outgoing(id).into_request(0).unwrap_or_default();
    book.check();
    request
}

fn is_told_to_reopen(signals: &Signals) -> bool {
    signals.reopen.notified().now_or_never().is_some()
}

#[test]
fn slots_are_split_and_come_back_as_credits() {
    let (mut book, _) = book(5, &[A, B]);
    assert_eq!((book.join(A).credits, book.join(B).credits), (3, 2));
    assign(&mut book, B, 1);
    assert_eq!(say(&mut book, B).credits, 0, "the slot is in use");
    book.finish(key(1), result(1));
    let said = say(&mut book, B);
    assert_eq!((said.credits, said.results.len()), (1, 1));
    assert_eq!(say(&mut book, A).credits, 0);
}

#[test]
fn a_new_session_gets_slots_only_when_they_are_free() {
    let (mut book, signals) = book(4, &[A]);
    assert_eq!(book.join(A).credits, 4);
    let _running = [1, 2, 3].map(|task| assign(&mut book, A, task));
    book.add(B, Arc::default());
    book.share_out(&[A, B]);
    assert_eq!(book.join(B).credits, 0, "three run and the fourth is with A's scheduler");
    assert!(is_told_to_reopen(&signals[0]), "A holds a credit beyond its share");

    book.leave(A);
    assert_eq!(book.join(A).credits, 0, "three of its own run, two are its share");
    assert_eq!(say(&mut book, B).credits, 1);
    book.finish(key(1), result(1));
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (0, 1));
    book.finish(key(2), result(2));
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (1, 0));
    book.check();
}

#[test]
fn an_attempt_beyond_the_credits_goes_back() {
    let (mut book, _) = book(1, &[A]);
    book.join(A);
    assign(&mut book, A, 1);
    assert!(!book.assign(A, key(2), &Arc::default()));
    assert!(!book.assign(A, key(1), &Arc::default()), "it runs already");
    assert_eq!(say(&mut book, A).handed_back, [key(2).to_ref()]);
    assert_eq!(book.running(), 1);
}

#[test]
fn results_are_repeated_until_they_are_acknowledged() {
    let (mut book, _) = book(4, &[A]);
    book.join(A);
    for task in [1, 2, 3] {
        assign(&mut book, A, task);
    }
    book.finish(key(1), result(1));
    book.finish(key(2), result(2));
    assert_eq!(say(&mut book, A).results.len(), 2);
    assert_eq!(say(&mut book, A).results.len(), 0, "once in a session");
    assert_eq!(book.acknowledge(A, [key(1)]).len(), 1);
    assert!(!book.is_flushed(A));

    book.leave(A);
    let claims = book.join(A);
    assert_eq!((claims.running, claims.credits), (vec![key(2), key(3)], 3), "unacknowledged work is claimed, too");
    let repeated: Vec<_> = say(&mut book, A).results.into_iter().filter_map(|result| result.attempt).collect();
    assert_eq!(repeated, [key(2).to_ref()]);
    assert!(!book.assign(A, key(2), &Arc::default()), "it has ended here already");

    book.acknowledge(A, [key(2)]);
    book.finish(key(3), Report::Nothing);
    assert!(book.is_flushed(A));
}

#[test]
fn what_is_revoked_is_stopped_and_forgotten() {
    let (mut book, _) = book(2, &[A]);
    book.join(A);
    let stop = assign(&mut book, A, 1);
    assign(&mut book, A, 2);
    book.finish(key(2), result(2));
    book.leave(A);
    assert_eq!(book.join(A).running, [key(1), key(2)]);
    book.revoke(A, key(1));
    book.revoke(A, key(2));
    assert_eq!(stop.reason(), Some(StopReason::Revoked));
    assert_eq!(book.log(key(1), line("x")), Logged::Gone);
    book.progress(key(1), Progress::default());
    book.finish(key(1), result(1));
    let said = say(&mut book, A);
    assert!(said.results.is_empty() && said.logs.is_empty() && said.progress.is_empty(), "{said:?}");
    assert!(book.is_flushed(A));
}

#[test]
fn another_session_claims_what_a_closed_one_left() {
    let (mut book, signals) = book(4, &[A, B]);
    book.join(A);
    book.join(B);
    for task in [1, 2] {
        assign(&mut book, A, task);
    }
    book.finish(key(2), result(2));
    say(&mut book, A);
    book.remove(A);
    book.check();
    book.share_out(&[B]);
    assert!(is_told_to_reopen(&signals[1]), "someone must claim it");
    assert_eq!(book.log(key(1), line("still here")), Logged::Taken);

    book.leave(B);
    let claims = book.join(B);
    assert_eq!((claims.running, claims.credits), (vec![key(1), key(2)], 3));
    let said = say(&mut book, B);
    assert_eq!((said.results.len(), said.logs[0].lines[0].text.as_str()), (1, "still here"));
    book.finish(key(1), result(1));
    assert_eq!(say(&mut book, B).results.len(), 1);
}

#[test]
fn lines_stay_in_order_and_before_the_result() {
    let (mut book, _) = book(2, &[A]);
    book.join(A);
    assign(&mut book, A, 1);
    assign(&mut book, A, 2);
    for (task, text) in [(1, "a"), (1, "b"), (2, "c"), (1, "d")] {
        assert_eq!(book.log(key(task), line(text)), Logged::Taken);
    }
    let groups = say(&mut book, A).logs;
    let groups: Vec<(String, Vec<String>)> = groups
        .into_iter()
        .map(|group| (group.attempt.unwrap().task_id, group.lines.into_iter().map(|line| line.text).collect()))
        .collect();
    let id = |task| key(task).to_ref().task_id;
    assert_eq!(groups, [(id(1), vec!["a".into(), "b".into()]), (id(2), vec!["c".into()]), (id(1), vec!["d".into()])]);

    // More lines than a message holds: the result comes with the last of them.
    for _ in 0..5_000 {
        assert_eq!(book.log(key(1), line("")), Logged::Taken);
    }
    book.finish(key(1), result(1));
    let first = book.outgoing(A);
    assert!(first.has_more);
    assert!(first.into_request(0).unwrap().results.is_empty());
    let second = say(&mut book, A);
    assert_eq!(second.results.len(), 1);
    assert!(!second.logs.is_empty());
}

#[test]
fn lines_wait_when_the_buffer_is_full_and_results_do_not() {
    let (mut book, _) = book(1, &[A]);
    book.join(A);
    assign(&mut book, A, 1);
    let text = "x".repeat(10_000);
    let mut kept = 0;
    while let Logged::Taken = book.log(key(1), line(&text)) {
        kept += text.len();
        assert!(kept < 2 * LOG_BYTES_MAX, "unbounded");
    }
    assert_eq!(book.log(key(1), line("y")), Logged::Full(line("y")));
    book.finish(key(1), result(1));
    let said = say(&mut book, A);
    assert_eq!((said.results.len(), said.logs[0].lines.len() * text.len()), (1, kept));
    assert_eq!(book.log(key(1), line("late")), Logged::Gone);
}

#[test]
fn only_the_latest_progress_is_sent() {
    let (mut book, _) = book(1, &[A]);
    book.join(A);
    assign(&mut book, A, 1);
    for percent in 0..100 {
        book.progress(key(1), Progress { fraction: f64::from(percent) / 100.0, message: String::new() });
    }
    let said = say(&mut book, A).progress;
    assert_eq!((said.len(), said[0].progress.as_ref().map(|progress| progress.fraction)), (1, Some(0.99)));
}

#[test]
fn credits_are_withheld_while_too_many_results_wait() {
    let slots = 10;
    let (mut book, _) = book(slots, &[A]);
    book.join(A);
    let mut task = 0;
    loop {
        for _ in 0..slots {
            if book.seats[&A].idle == 0 {
                break;
            }
            assign(&mut book, A, task);
            book.finish(key(task), result(task));
            task += 1;
        }
        if say(&mut book, A).credits == 0 {
            break;
        }
    }
    assert_eq!(usize::from(task), UNACKED_MAX);
    book.acknowledge(A, (0..3).map(key));
    assert_eq!(say(&mut book, A).credits, 3);
}

#[test]
fn a_draining_worker_takes_nothing_more() {
    let (mut book, _) = book(3, &[A]);
    book.join(A);
    let stop = assign(&mut book, A, 1);
    book.drain();
    assert!(!book.assign(A, key(2), &Arc::default()));
    let said = say(&mut book, A);
    assert_eq!((said.credits, said.handed_back), (0, vec![key(2).to_ref()]));
    book.stop_all(StopReason::HandedBack);
    assert_eq!(stop.reason(), Some(StopReason::HandedBack));
    book.finish(key(1), Report::HandedBack);
    assert_eq!(say(&mut book, A).handed_back, [key(1).to_ref()]);
    assert_eq!(book.join(A), super::Claims { running: vec![], credits: 0 });
}

#[test]
fn only_the_first_reason_of_a_stop_counts() {
    let stop = Stop::default();
    assert_eq!(stop.reason(), None);
    stop.order(StopReason::TimedOut);
    stop.order(StopReason::Cancelled);
    assert_eq!((stop.reason(), stop.token().is_cancelled()), (Some(StopReason::TimedOut), true));
}
