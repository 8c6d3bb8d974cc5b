use std::sync::Arc;

use futures_util::FutureExt as _;
use mcp_proto::{
    TaskId,
    scheduler::v1::Progress,
    worker::v1::{AttemptLogLine, AttemptRef, AttemptResult, OpenSessionRequest},
};

use super::{Book, Claims, LOG_BYTES_MAX, Logged, Report, SessionId, Signals, credits::UNACKED_MAX};
use crate::worker::{
    attempt::{AttemptKey, FencingToken},
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

/// Breaks a session and opens it again; the scheduler keeps what is claimed.
fn come_back(book: &mut Book, id: SessionId) -> Claims {
    book.leave(id);
    book.check();
    let claims = book.join(id);
    book.welcomed(id, &claims.running, &[], &[]);
    book.check();
    claims
}

fn refs(tasks: &[u16]) -> Vec<AttemptRef> {
    tasks.iter().map(|task| key(*task).to_ref()).collect()
}

fn result_refs(request: OpenSessionRequest) -> Vec<AttemptRef> {
    request.results.into_iter().filter_map(|result| result.attempt).collect()
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
fn a_new_session_gets_slots_that_others_give_back() {
    let (mut book, _) = book(4, &[A]);
    assert_eq!(book.join(A).credits, 4);
    let _running = [1, 2, 3].map(|task| assign(&mut book, A, task));
    book.add(B, Arc::default());
    book.share_out(&[A, B]);
    assert_eq!(book.join(B).credits, 0, "three run and the fourth is with A's scheduler");
    assert_eq!(say(&mut book, A).reclaim, 1, "A holds a credit beyond its share");
    assert_eq!(say(&mut book, A).reclaim, 0, "asked once");
    book.reclaimed(A, 1);
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (0, 1));
    book.finish(key(1), result(1));
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (0, 1));
    book.finish(key(2), result(2));
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (1, 0));
    book.check();
}

#[test]
fn a_scheduler_that_gives_no_credits_back_is_left_for_a_moment() {
    let (mut book, signals) = book(4, &[A]);
    book.join(A);
    book.add(B, Arc::default());
    book.share_out(&[A, B]);
    book.join(B);
    assert_eq!(say(&mut book, A).reclaim, 2);
    for _ in 0..2 {
        book.pinged(A);
        assert!(!is_told_to_reopen(&signals[0]));
    }
    book.pinged(A);
    assert!(is_told_to_reopen(&signals[0]));
    book.pause(A);
    assert_eq!((book.join(A).credits, say(&mut book, B).credits), (2, 2));
    book.check();
}

#[test]
fn a_busy_session_gets_the_idle_credits_of_the_others() {
    let (mut book, _) = book(8, &[A, B]);
    assert_eq!((book.join(A).credits, book.join(B).credits), (4, 4));
    for task in 0..4 {
        assign(&mut book, A, task);
    }
    let asked = say(&mut book, B).reclaim;
    assert_eq!(asked, 3, "one stays, so that B can start something at once");
    // One of them was used meanwhile.
    assign(&mut book, B, 100);
    book.reclaimed(B, 2);
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (2, 0));
    book.check();
}

#[test]
fn a_busy_session_leaves_the_others_their_even_share() {
    let (mut book, _) = book(8, &[A, B]);
    book.join(A);
    book.join(B);
    assign(&mut book, B, 100);
    for task in 0..4 {
        assign(&mut book, A, task);
    }
    assert_eq!(say(&mut book, B).reclaim, 0, "B used one not long ago");
    for _ in 0..2 {
        book.pinged(B);
    }
    assert_eq!(say(&mut book, B).reclaim, 2, "two intervals later it has been quiet");
    book.reclaimed(B, 2);
    assert_eq!(say(&mut book, A).credits, 2);
    assign(&mut book, A, 4);
    assign(&mut book, A, 5);

    // Now B has work, too, and takes its own back as A's attempts end.
    assign(&mut book, B, 101);
    assert_eq!(say(&mut book, A).credits, 0);
    book.finish(key(0), result(0));
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (0, 1));
    book.finish(key(1), result(1));
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (0, 1));
    book.finish(key(2), result(2));
    assert_eq!((say(&mut book, A).credits, say(&mut book, B).credits), (1, 0), "A keeps its even share");
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
    assert_eq!(book.acknowledge(A, &[key(1)]).len(), 1);
    assert!(!book.is_flushed(A));

    let claims = come_back(&mut book, A);
    assert_eq!((claims.running, claims.credits), (vec![key(2), key(3)], 3), "unacknowledged work is claimed, too");
    assert_eq!(result_refs(say(&mut book, A)), refs(&[2]));
    assert!(!book.assign(A, key(2), &Arc::default()), "it has ended here already");

    // A session that is only opened anew keeps its attempts.
    book.pause(A);
    assert_eq!(book.join(A).running, [key(2), key(3)]);
    assert_eq!(result_refs(say(&mut book, A)), refs(&[2]));

    book.acknowledge(A, &[key(2)]);
    book.finish(key(3), result(3));
    assert_eq!(result_refs(say(&mut book, A)), refs(&[3]));
    book.acknowledge(A, &[key(3)]);
    assert!(book.is_flushed(A));
}

#[test]
fn what_is_revoked_is_stopped_and_forgotten() {
    let (mut book, _) = book(2, &[A, B]);
    book.join(A);
    let stop = assign(&mut book, A, 1);
    say(&mut book, A);
    book.seats.get_mut(&A).unwrap().share = 2;
    say(&mut book, A);
    assign(&mut book, A, 2);
    book.finish(key(2), result(2));
    book.revoke(B, &[key(1), key(2)]);
    assert_eq!(stop.reason(), None, "only the replica that has it may revoke it");
    book.leave(A);
    let claims = book.join(A);
    assert_eq!(claims.running, [key(1), key(2)]);
    book.welcomed(A, &claims.running, &claims.running, &[]);
    assert_eq!(stop.reason(), Some(StopReason::Revoked));
    assert_eq!(book.log(key(1), line("x")), Logged::Gone);
    book.progress(key(1), Progress::default());
    book.finish(key(1), Report::Nothing);
    book.check();
    let said = say(&mut book, A);
    assert!(said.results.is_empty() && said.logs.is_empty() && said.progress.is_empty(), "{said:?}");
    assert!(book.is_flushed(A));
}

#[test]
fn what_a_broken_session_had_is_reported_to_the_others_until_one_adopts_it() {
    let (mut book, _) = book(4, &[A, B]);
    book.join(A);
    book.join(B);
    assign(&mut book, A, 1);
    assert_eq!(book.log(key(1), line("unsent")), Logged::Taken);
    assign(&mut book, A, 2);
    book.finish(key(2), result(2));
    book.leave(A);
    book.check();
    assert_eq!(book.log(key(1), line("homeless")), Logged::Taken);
    book.progress(key(1), Progress::default());

    let said = say(&mut book, B);
    assert_eq!(said.running, refs(&[1, 2]));
    assert!(said.results.is_empty() && said.logs.is_empty(), "nobody has adopted them: {said:?}");
    book.disown(B, &[key(1), key(2)]);
    assert_eq!(say(&mut book, B).running, [], "once");
    book.pinged(B);
    assert_eq!(say(&mut book, B).running, refs(&[1, 2]), "and again from time to time");
    book.report_all(B);
    assert_eq!(say(&mut book, B).running, refs(&[1, 2]), "and when it asks");

    book.adopt(B, &[key(1), key(2)]);
    book.check();
    let said = say(&mut book, B);
    let texts: Vec<_> = said.logs[0].lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!((texts, said.progress.len()), (vec!["unsent", "homeless"], 1));
    assert_eq!(result_refs(said), refs(&[2]));
    book.finish(key(1), result(1));
    assert_eq!(result_refs(say(&mut book, B)), refs(&[1]));
    book.acknowledge(B, &[key(1), key(2)]);
    assert!(book.is_flushed(B));
    book.remove(A);
    book.check();
}

#[test]
fn a_result_that_is_not_for_this_replica_goes_to_the_one_that_adopts_it() {
    let (mut book, _) = book(4, &[A, B]);
    book.join(A);
    book.join(B);
    assign(&mut book, A, 1);
    book.finish(key(1), result(1));
    assert_eq!(result_refs(say(&mut book, A)), refs(&[1]));
    book.disown(A, &[key(1)]);
    book.check();
    assert_eq!(say(&mut book, B).running, refs(&[1]));
    assert_eq!(say(&mut book, A).running, [], "A has just said that it is not its own");
    book.disown(B, &[key(1)]);
    // The old owner gets the partition back.
    book.report_all(A);
    assert_eq!(say(&mut book, A).running, refs(&[1]));
    book.adopt(A, &[key(1)]);
    assert_eq!(result_refs(say(&mut book, A)), refs(&[1]));
    assert_eq!(book.acknowledge(A, &[key(1)]).len(), 1);
    assert!(book.is_flushed(A) && book.is_flushed(B));
}

#[test]
fn a_new_owner_takes_attempts_from_one_that_is_frozen() {
    let (mut book, _) = book(4, &[A, B]);
    book.join(A);
    book.join(B);
    let stop = assign(&mut book, A, 1);
    book.report_all(B);
    assert_eq!(say(&mut book, B).running, refs(&[1]), "A's session is open, but who knows");
    book.adopt(B, &[key(1)]);
    // What the old owner says when it is back does not count any more.
    book.cancel(A, key(1));
    book.revoke(A, &[key(1)]);
    book.disown(A, &[key(1)]);
    book.check();
    assert_eq!(stop.reason(), None);
    assert_eq!(say(&mut book, B).running, []);
    book.finish(key(1), result(1));
    assert_eq!((result_refs(say(&mut book, A)), result_refs(say(&mut book, B))), (vec![], refs(&[1])));
}

#[test]
fn what_one_adopts_though_it_is_gone_here_is_handed_back() {
    let (mut book, _) = book(4, &[A, B]);
    book.join(A);
    book.join(B);
    book.adopt(B, &[key(7)]);
    assert_eq!(say(&mut book, B).handed_back, refs(&[7]));

    let stop = assign(&mut book, A, 1);
    book.revoke(A, &[key(1)]);
    book.leave(A);
    book.adopt(B, &[key(1)]);
    assert_eq!(stop.reason(), Some(StopReason::Revoked));
    book.finish(key(1), Report::Nothing);
    assert_eq!(say(&mut book, B).handed_back, refs(&[1]), "it was being stopped");
    book.acknowledge(B, &[key(1), key(7)]);
    book.check();
    assert!(book.is_flushed(B));
}

#[test]
fn a_hand_back_goes_to_the_owner_of_the_moment() {
    let (mut book, _) = book(2, &[A, B]);
    book.join(A);
    book.join(B);
    assign(&mut book, A, 1);
    book.drain();
    book.finish(key(1), Report::HandedBack);
    assert_eq!(say(&mut book, A).handed_back, refs(&[1]));
    assert!(!book.is_flushed(B), "B may have to hear of it");
    book.disown(A, &[key(1)]);
    assert_eq!(say(&mut book, B).running, refs(&[1]));
    book.adopt(B, &[key(1)]);
    assert_eq!(say(&mut book, B).handed_back, refs(&[1]));
    book.acknowledge(B, &[key(1)]);
    assert!(book.is_flushed(A) && book.is_flushed(B));
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
            assert!(book.assign(A, key(task), &Arc::default()));
            book.finish(key(task), result(task));
            task += 1;
        }
        if book.outgoing(A).credits == 0 {
            break;
        }
    }
    assert_eq!(usize::from(task), UNACKED_MAX);
    book.acknowledge(A, &[0, 1, 2].map(key));
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
    let claims = come_back(&mut book, A);
    assert_eq!(claims, Claims { running: vec![key(1), key(2)], credits: 0 });
    assert_eq!(say(&mut book, A).handed_back.len(), 2, "repeated until it is acknowledged");
    book.acknowledge(A, &claims.running);
    assert!(book.is_flushed(A));
}

#[test]
fn only_the_first_reason_of_a_stop_counts() {
    let stop = Stop::default();
    assert_eq!(stop.reason(), None);
    stop.order(StopReason::TimedOut);
    stop.order(StopReason::Cancelled);
    assert_eq!((stop.reason(), stop.token().is_cancelled()), (Some(StopReason::TimedOut), true));
}
