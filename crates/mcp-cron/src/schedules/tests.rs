use super::*;
use crate::{
    backfill::{Backfilled, Known},
    ledger::{FireKind, FireRecord, MissReason, Outcome, SkipReason},
    rules::RawRules,
};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;
const HOME: Partition = Partition(1);

/// When tests begin: a full hour.
const START: Millis = 20_000 * DAY;

fn id(name: &str) -> ScheduleId {
    ScheduleId::new("default", name).unwrap()
}

fn raw(cron: &str) -> RawRules {
    RawRules { cron: vec![cron.to_owned()], ..RawRules::default() }
}

fn checked(raw: RawRules) -> Rules {
    Rules::checked(raw).unwrap()
}

/// A book, what it said, and what is on record.
struct Desk {
    book: Schedules,
    now: Millis,
    refuses: bool,
    tasks: u128,
    /// Effects in short, since they were last taken.
    said: Vec<String>,
    ledger: BTreeMap<Vec<u8>, FireRecord>,
    records: BTreeMap<ScheduleId, ScheduleRecord>,
}

impl Desk {
    fn new(limits: Limits) -> Self {
        let (said, ledger, records) = Default::default();
        Self { book: Schedules::new(limits), now: START, refuses: false, tasks: 0, said, ledger, records }
    }

    fn with(rules: RawRules) -> Self {
        let mut desk = Self::new(Limits::default());
        desk.put("a", rules).unwrap();
        desk.said.clear();
        desk
    }

    fn put(&mut self, name: &str, rules: RawRules) -> Result<PutDone, Error> {
        self.act(|book, now, effects| book.put(now, &id(name), HOME, checked(rules), effects))
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Schedules, Millis, &mut Vec<Effect>) -> R) -> R {
        let mut effects = Vec::new();
        let result = act(&mut self.book, self.now, &mut effects);
        self.obey(effects);
        result
    }

    /// Answers and records, in order.
    fn obey(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start { id, fire, .. } => {
                    let mut answer = Vec::new();
                    if self.refuses {
                        assert!(self.book.refused(self.now, &id, &fire, Refusal::QueueFull, &mut answer));
                    } else {
                        self.tasks += 1;
                        assert!(self.book.started(self.now, &id, &fire, TaskId(self.tasks), &mut answer));
                    }
                    self.obey(answer);
                }
                Effect::Ledger { id, entry, .. } => {
                    self.said.push(told(&entry));
                    self.ledger.insert(entry.key(&id), entry);
                }
                Effect::CancelRun { task, .. } => self.said.push(format!("cancel {}", task.0)),
                Effect::Save { record, .. } => drop(self.records.insert(record.id.clone(), *record)),
                Effect::Remove { id, .. } => {
                    assert!(self.records.remove(&id).is_some());
                    self.said.push("removed".to_owned());
                }
            }
        }
    }

    /// Lets time pass from timer to timer, as an owner without troubles does.
    fn pass(&mut self, time: Millis) -> Vec<String> {
        let until = self.now + time;
        while let Some(timer) = self.book.next_timer().filter(|timer| *timer <= until) {
            self.now = self.now.max(timer);
            self.act(Schedules::tick);
        }
        self.now = until;
        self.take()
    }

    /// Nobody is there for some time.
    fn sleep(&mut self, time: Millis) -> Vec<String> {
        self.now += time;
        self.pass(1)
    }

    fn end(&mut self, task: u128) -> Vec<String> {
        assert!(self.act(|book, now, effects| book.run_ended(now, TaskId(task), effects)));
        self.pass(0)
    }

    fn pause(&mut self) -> Vec<String> {
        assert!(self.act(|book, now, effects| book.pause(now, &id("a"), "broken".to_owned(), effects)).unwrap());
        self.take()
    }

    fn resume(&mut self) -> Vec<String> {
        assert!(self.act(|book, now, effects| book.resume(now, &id("a"), effects)).unwrap());
        self.take()
    }

    fn trigger(&mut self, overlap: Option<Overlap>) -> Vec<String> {
        self.act(|book, now, effects| book.trigger(now, &id("a"), overlap, effects)).unwrap();
        self.take()
    }

    /// A backfill from so many minutes after the start to so many, that knows what is on record.
    fn backfill(&mut self, from: Millis, to: Millis) -> Result<Backfilled, Error> {
        let ran = self.ledger.values().filter(|entry| matches!(entry.outcome, Outcome::Ran { .. }));
        let known = Known { ran: ran.map(|entry| entry.time).collect(), as_of: self.record().revision };
        self.backfill_knowing(from, to, &known)
    }

    fn backfill_knowing(&mut self, from: Millis, to: Millis, known: &Known) -> Result<Backfilled, Error> {
        let [from, to] = [from, to].map(|minutes| START + minutes * MINUTE);
        self.act(|book, now, effects| book.backfill(now, &id("a"), from, to, known, effects))
    }

    fn record(&self) -> &ScheduleRecord {
        &self.records[&id("a")]
    }

    fn take(&mut self) -> Vec<String> {
        assert_eq!(self.book.unanswered(), 0);
        for (id, record) in &self.records {
            assert_eq!(self.book.get(id).map(|view| view.record), Some(record), "what is on record is what is known");
        }
        std::mem::take(&mut self.said)
    }
}

/// An entry in short; times are minutes since the start.
fn told(entry: &FireRecord) -> String {
    let minute = |time: Millis| (time - START) as f64 / MINUTE as f64;
    let times = if entry.range {
        format!("{}..{} ({})", minute(entry.time), minute(entry.last), entry.count)
    } else {
        minute(entry.time).to_string()
    };
    let kind = match entry.kind {
        FireKind::Regular => "",
        FireKind::CatchUp => " late",
        FireKind::Trigger => " trigger",
        FireKind::Backfill => " backfill",
    };
    let outcome = match &entry.outcome {
        Outcome::Ran { task } => format!("ran {}", task.0),
        Outcome::Skipped { reason } => format!("skipped: {reason}"),
        Outcome::Missed { reason } => format!("missed: {reason}"),
    };
    format!("{times}{kind} {outcome}").replace(&format!("{:032x}", 0)[..31], "")
}

#[test]
fn skip_leaves_out_fire_times_while_one_runs() {
    let mut desk = Desk::with(raw("* * * * *"));
    assert_eq!(
        desk.pass(3 * MINUTE),
        ["1 ran 1", "2 skipped: an earlier run was not over: task 1", "3 skipped: an earlier run was not over: task 1"]
    );
    assert_eq!(desk.end(1), [] as [&str; 0]);
    assert_eq!(desk.pass(MINUTE), ["4 ran 2"]);
}

#[test]
fn buffer_one_keeps_one_fire_time_for_later() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::BufferOne, ..raw("* * * * *") });
    let waiting = format!(
        "3 skipped: an earlier run was not over, and the fire time {} waited for its end already",
        START + 2 * MINUTE
    );
    assert_eq!(desk.pass(3 * MINUTE), ["1 ran 1", &waiting]);
    assert_eq!(desk.record().waiting.unwrap().time, START + 2 * MINUTE);
    assert_eq!(desk.end(1), ["2 ran 2"]);
    assert_eq!(desk.record().waiting, None);
}

#[test]
fn cancel_other_waits_for_the_end_of_what_it_cancels() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::CancelOther, ..raw("* * * * *") });
    let replaced = format!("2 skipped: the later fire time {} took its place while it waited", START + 3 * MINUTE);
    assert_eq!(desk.pass(3 * MINUTE), ["1 ran 1", "cancel 1", &replaced]);
    assert_eq!(desk.end(1), ["3 ran 2"]);
}

#[test]
fn allow_all_starts_as_many_as_may_run() {
    let mut desk = Desk::new(Limits::tiny());
    desk.put("a", RawRules { overlap: Overlap::AllowAll, ..raw("* * * * *") }).unwrap();
    let too_many = "3 skipped: 2 earlier runs were not over, which is the most";
    assert_eq!(desk.pass(3 * MINUTE), ["1 ran 1", "2 ran 2", too_many]);
    desk.end(1);
    assert_eq!(desk.pass(MINUTE), ["4 ran 3"]);
}

#[test]
fn what_is_refused_is_skipped_for_that_reason() {
    let mut desk = Desk::with(raw("* * * * *"));
    desk.refuses = true;
    let told = desk.pass(2 * MINUTE);
    let reason = "skipped: what it starts was refused: the queue was full";
    assert_eq!(told, [format!("1 {reason}"), format!("2 {reason}")]);
}

#[test]
fn after_an_outage_the_window_is_caught_up_with_and_the_rest_is_missed() {
    let rules = RawRules { overlap: Overlap::AllowAll, catch_up_ms: 2 * MINUTE, ..raw("* * * * *") };
    let mut desk = Desk::with(rules.clone());
    let missed = "1..57 (57) missed: older than the catch-up window of 120 s";
    assert_eq!(desk.sleep(HOUR - 30_000), [missed, "58 late ran 1", "59 late ran 2"]);
    assert_eq!(desk.pass(MINUTE), ["60 ran 3"]);
    // By the policy, as ever.
    let mut desk = Desk::with(RawRules { overlap: Overlap::Skip, ..rules });
    let overlap = "59 late skipped: an earlier run was not over: task 1";
    assert_eq!(desk.sleep(HOUR - 30_000), [missed, "58 late ran 1", overlap]);
}

#[test]
fn only_the_newest_are_caught_up_with() {
    let rules = RawRules { overlap: Overlap::AllowAll, catch_up_ms: DAY, catch_up_max: 2, ..raw("* * * * *") };
    let mut desk = Desk::with(rules);
    let missed = "1..57 (57) missed: only the newest 2 are caught up with";
    assert_eq!(desk.sleep(HOUR - 30_000), [missed, "58 late ran 1", "59 late ran 2"]);
}

#[test]
fn a_million_missed_minutes_are_one_entry() {
    let mut desk = Desk::with(raw("* * * * *"));
    let told = desk.sleep(1_000_001 * MINUTE);
    let missed = "1..999999 (999999) missed: older than the catch-up window of 60 s";
    assert_eq!(told, [missed, "1000000 late ran 1", "1000001 skipped: an earlier run was not over: task 1"]);
}

#[test]
fn a_pause_costs_nothing_and_is_one_entry() {
    let mut desk = Desk::with(raw("* * * * *"));
    assert_eq!(desk.pass(MINUTE), ["1 ran 1"]);
    desk.end(1);
    assert_eq!(desk.pause(), [] as [&str; 0]);
    assert_eq!((desk.book.next_timer(), desk.record().note.as_str()), (None, "broken"));
    assert_eq!(desk.sleep(HOUR), [] as [&str; 0]);
    assert_eq!(desk.resume(), ["2..61 (60) skipped: the schedule was paused"]);
    assert_eq!(desk.record().note, "");
    assert_eq!(desk.pass(MINUTE), ["62 ran 2"]);
    // Nothing passed, nothing to tell.
    desk.pause();
    assert_eq!(desk.resume(), [] as [&str; 0]);
}

#[test]
fn a_pause_keeps_back_what_waited_but_not_what_is_asked_for() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::BufferOne, ..raw("* * * * *") });
    assert_eq!(desk.pass(2 * MINUTE), ["1 ran 1"]);
    assert_eq!(desk.pause(), ["2 skipped: the schedule was paused"]);
    assert_eq!(desk.trigger(None), [] as [&str; 0]);
    assert_eq!(desk.end(1), ["2 trigger ran 2"]);
    assert_eq!(desk.end(2), [] as [&str; 0]);
    assert!(!desk.act(|book, now, effects| book.pause(now, &id("a"), String::new(), effects)).unwrap());
}

#[test]
fn a_trigger_starts_now_by_the_policy_or_another() {
    let mut desk = Desk::with(raw("0 * * * *"));
    desk.pass(MINUTE);
    assert_eq!(desk.trigger(None), ["1 trigger ran 1"]);
    let told = desk.trigger(None);
    assert!(told[0].ends_with("trigger skipped: an earlier run was not over: task 1"), "{told:?}");
    let told = desk.trigger(Some(Overlap::AllowAll));
    assert!(told[0].ends_with("trigger ran 2"), "{told:?}");
    // All at the same moment, and yet three entries.
    assert_eq!(desk.ledger.values().map(|entry| entry.time - START - MINUTE).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_trigger_and_a_fire_time_at_one_moment_are_two_entries() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::AllowAll, ..raw("* * * * *") });
    desk.pass(MINUTE);
    desk.trigger(None);
    assert_eq!(desk.ledger.values().map(told).collect::<Vec<_>>(), ["1 ran 1", "1 trigger ran 2"]);
}

#[test]
fn new_rules_hold_from_now_on() {
    let mut desk = Desk::with(raw("*/10 * * * *"));
    assert_eq!(desk.pass(10 * MINUTE), ["10 ran 1"]);
    desk.end(1);
    assert_eq!(desk.put("a", raw("*/7 * * * *")), Ok(PutDone::Replaced));
    assert_eq!(desk.pass(4 * MINUTE), ["14 ran 2"]);
    desk.end(2);
    // Old fire times that were not served yet are accounted for.
    desk.now = START + 35 * MINUTE;
    desk.put("a", raw("* * * * *")).unwrap();
    let missed = "21..28 (2) missed: older than the catch-up window of 60 s";
    assert_eq!(desk.take(), [missed, "35..35 (1) skipped: the rules were changed before it was served"]);
    assert_eq!(desk.pass(MINUTE), ["36 ran 3"]);
}

#[test]
fn a_change_that_keeps_the_times_loses_none() {
    let rules = RawRules { jitter_ms: HOUR, ..raw("*/30 * * * *") };
    let mut desk = Desk::with(rules.clone());
    // The fire time has come, its start has not.
    let start = checked(rules.clone()).start_of(&id("a"), START + 30 * MINUTE);
    assert!(start > START + 30 * MINUTE && start < START + HOUR);
    assert_eq!(desk.pass(30 * MINUTE), [] as [&str; 0]);
    desk.put("a", RawRules { overlap: Overlap::AllowAll, ..rules }).unwrap();
    assert_eq!(desk.pass(start - desk.now), ["30 ran 1"]);
    assert_eq!(desk.now, start);
}

#[test]
fn a_backfill_runs_what_did_not_one_after_the_other() {
    let mut desk = Desk::with(raw("*/10 * * * *"));
    desk.pass(10 * MINUTE);
    desk.end(1);
    desk.sleep(31 * MINUTE);
    desk.end(2);
    let ran: Vec<_> = desk.ledger.values().map(told).collect();
    assert_eq!(ran, ["10 ran 1", "20..30 (2) missed: older than the catch-up window of 60 s", "40 late ran 2"]);
    assert_eq!(desk.backfill(0, 41), Ok(Backfilled { accepted: 3, ran_before: 2 }));
    assert_eq!(desk.pass(0), ["0 backfill ran 3"]);
    assert_eq!(desk.end(3), ["20 backfill ran 4"]);
    // A regular fire time finds it running.
    assert_eq!(desk.pass(10 * MINUTE), ["50 skipped: an earlier run was not over: task 4"]);
    assert_eq!(desk.end(4), ["30 backfill ran 5"]);
    assert_eq!(desk.end(5), [] as [&str; 0]);
    // All of it is done now, but what was skipped.
    assert_eq!(desk.backfill(0, 51), Ok(Backfilled { accepted: 1, ran_before: 5 }));
    assert_eq!(desk.backfill(0, 51), Ok(Backfilled { accepted: 0, ran_before: 5 }));
}

#[test]
fn a_backfill_goes_at_once_where_all_may_run() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::AllowAll, ..raw("*/10 * * * *") });
    desk.pass(MINUTE);
    assert_eq!(desk.backfill(0, 1).unwrap().accepted, 1);
    assert_eq!(desk.backfill_knowing(0, 1, &Known { as_of: u64::MAX, ..Known::default() }).unwrap().accepted, 0);
    assert_eq!(desk.pass(0), ["0 backfill ran 1"]);
}

#[test]
fn a_backfill_knows_what_ran_since_the_ledger_was_read() {
    let mut desk = Desk::with(raw("*/10 * * * *"));
    let read = Known { as_of: desk.record().revision, ..Known::default() };
    desk.pass(11 * MINUTE);
    assert_eq!(desk.backfill_knowing(5, 11, &read), Ok(Backfilled { accepted: 0, ran_before: 1 }));
    // A later owner does not, and says so.
    desk.book.close(HOME);
    desk.book.restore(HOME, desk.records[&id("a")].clone()).unwrap();
    assert_eq!(desk.backfill_knowing(5, 11, &read), Err(Error::LedgerStale { as_of: read.as_of }));
    assert_eq!(desk.backfill(5, 11), Ok(Backfilled { accepted: 0, ran_before: 1 }));
}

#[test]
fn a_backfill_is_bounded() {
    let mut desk = Desk::new(Limits::tiny());
    desk.put("a", raw("* * * * *")).unwrap();
    desk.now += HOUR;
    desk.put("a", raw("*/2 * * * *")).unwrap();
    let before = desk.record().clone();
    assert_eq!(desk.backfill(5, 5), Err(Error::BackfillRange));
    assert_eq!(desk.backfill(5, 70), Err(Error::BackfillRange));
    assert_eq!(desk.backfill(0, 42), Err(Error::BackfillTooLarge { max: 20 }));
    let ran = [4, 8, 12].map(|minute| START + minute * MINUTE).into();
    let known = Known { ran, as_of: before.revision };
    assert_eq!(desk.backfill_knowing(0, 20, &known), Err(Error::BackfillScattered { max: 2 }));
    assert_eq!(desk.record(), &before, "nothing has changed");
    assert_eq!(desk.backfill_knowing(0, 12, &known), Err(Error::BackfillScattered { max: 2 }));
    assert_eq!(desk.backfill_knowing(0, 8, &known).unwrap().accepted, 3);
    // What waits counts.
    assert_eq!(desk.backfill(8, 60), Err(Error::BackfillTooLarge { max: 20 }));
}

#[test]
fn a_backfill_during_a_pause_does_not_run_what_the_pause_accounts_for_twice() {
    let mut desk = Desk::with(raw("*/10 * * * *"));
    desk.pause();
    desk.now += 35 * MINUTE;
    assert_eq!(desk.backfill(20, 35).unwrap().accepted, 2);
    assert_eq!(desk.pass(0), ["10..30 (3) skipped: the schedule was paused", "20 backfill ran 1"]);
    assert_eq!(desk.end(1), ["30 backfill ran 2"]);
    desk.now += 10 * MINUTE;
    assert_eq!(desk.resume(), ["40..40 (1) skipped: the schedule was paused"]);
}

#[test]
fn a_deleted_schedule_leaves_a_complete_ledger() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::BufferOne, ..raw("*/10 * * * *") });
    desk.pass(20 * MINUTE);
    desk.backfill(0, 1).unwrap();
    desk.now = START + 45 * MINUTE;
    desk.take();
    desk.act(|book, now, effects| book.delete(now, &id("a"), effects)).unwrap();
    assert_eq!(
        desk.take(),
        [
            "30..40 (2) missed: older than the catch-up window of 60 s",
            "20 skipped: the schedule was deleted before it was served",
            "0..0 (1) backfill skipped: the schedule was deleted before it was served",
            "removed",
        ]
    );
    assert!(desk.book.is_empty() && desk.book.next_timer().is_none());
    assert_eq!(desk.book.schedule_of(TaskId(1)), None);
    let deleted = desk.act(|book, now, effects| book.delete(now, &id("a"), effects));
    assert_eq!(deleted, Err(Error::NotFound { id: id("a") }));
}

#[test]
fn nothing_is_saved_before_every_start_is_answered() {
    let mut book = Schedules::new(Limits::default());
    let mut effects = Vec::new();
    let rules = checked(RawRules { overlap: Overlap::AllowAll, catch_up_ms: HOUR, ..raw("* * * * *") });
    book.put(START, &id("a"), HOME, rules, &mut effects).unwrap();
    effects.clear();
    let now = START + 2 * MINUTE;
    book.tick(now, &mut effects);
    let [Effect::Start { fire: first, .. }, Effect::Start { fire: second, .. }] = effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(book.unanswered(), 2);
    effects.clear();
    assert!(book.started(now, &id("a"), &second, TaskId(2), &mut effects));
    assert!(matches!(effects[..], [Effect::Ledger { .. }]), "{effects:?}");
    assert!(book.refused(now, &id("a"), &first, Refusal::QueueClosed, &mut effects));
    assert!(matches!(effects[1..], [Effect::Ledger { .. }, Effect::Save { .. }]), "{effects:?}");
    // An answer counts once.
    assert!(!book.started(now, &id("a"), &first, TaskId(3), &mut effects));
    assert!(!book.refused(now, &id("b"), &first, Refusal::QueueClosed, &mut effects));
    assert_eq!(
        (book.unanswered(), book.schedule_of(TaskId(2)), book.schedule_of(TaskId(3))),
        (0, Some(&id("a")), None)
    );
}

#[test]
fn a_tick_is_bounded_and_every_schedule_has_its_turn() {
    let mut desk = Desk::new(Limits::tiny());
    let rules = RawRules { catch_up_ms: DAY, ..raw("* * * * *") };
    for name in ["a", "b", "c"] {
        desk.put(name, rules.clone()).unwrap();
    }
    assert_eq!(desk.put("d", rules), Err(Error::Full { max: 3 }));
    desk.now += HOUR;
    for _ in 0..3 {
        desk.act(Schedules::tick);
        assert!(desk.said.len() <= 7, "{:?}", desk.said);
        desk.take();
        desk.now += 1;
    }
    let positions = desk.records.values().map(|record| record.decided_until - START);
    assert!(positions.clone().all(|position| position >= 3 * MINUTE), "{:?}", positions.collect::<Vec<_>>());
}

#[test]
fn another_owner_goes_on_where_the_record_ends() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::BufferOne, ..raw("* * * * *") });
    desk.pass(2 * MINUTE);
    desk.trigger(Some(Overlap::AllowAll));
    let record = desk.record().clone();
    assert_eq!(desk.book.close(Partition(9)), 0);
    assert_eq!(desk.book.close(HOME), 1);
    assert!(desk.book.is_empty() && desk.book.next_timer().is_none() && desk.book.schedule_of(TaskId(1)).is_none());
    let text = serde_json::to_string(&record).unwrap().replacen('{', r#"{"later":["added"],"#, 1);
    desk.book.restore(Partition(7), serde_json::from_str(&text).unwrap()).unwrap();
    let twice = desk.book.restore(Partition(7), record);
    assert_eq!(twice, Err(RestoreError::Twice { id: id("a") }));
    assert_eq!(desk.book.runs(Partition(7)).map(|(_, run)| run.task.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(desk.book.get(&id("a")).unwrap().next_time, Some(START + 3 * MINUTE));
    assert_eq!(desk.end(1), [] as [&str; 0]);
    assert_eq!(desk.end(2), ["2 ran 3"]);
    let elsewhere = desk.put("a", raw("@daily"));
    assert_eq!(elsewhere, Err(Error::Elsewhere { id: id("a"), found: Partition(7), asked: HOME }));
}

#[test]
fn a_record_that_cannot_be_used_is_left_alone() {
    let desk = Desk::with(raw("@hourly"));
    let mut book = Schedules::new(Limits::default());
    let newer = ScheduleRecord { version: 2, ..desk.record().clone() };
    let unknown = RestoreError::Version { id: id("a"), found: 2, known: 1 };
    assert_eq!(book.restore(HOME, newer), Err(unknown));
    let rules = RawRules { time_zone: "Mars/Olympus".to_owned(), ..raw("@hourly") };
    let refused = book.restore(HOME, ScheduleRecord { rules, ..desk.record().clone() }).unwrap_err();
    assert!(matches!(refused, RestoreError::Rules { .. }));
    assert!(book.is_empty());
}

#[test]
fn a_clock_that_is_behind_decides_nothing_again() {
    let mut desk = Desk::with(RawRules { overlap: Overlap::AllowAll, ..raw("* * * * *") });
    desk.pass(10 * MINUTE);
    let record = desk.record().clone();
    desk.book.close(HOME);
    desk.book.restore(HOME, record).unwrap();
    desk.now = START + 5 * MINUTE;
    assert_eq!(desk.pass(5 * MINUTE), [] as [&str; 0]);
    assert_eq!(desk.pass(MINUTE), ["11 ran 11"]);
}

#[test]
fn a_ledger_sorts_by_time_and_tells_its_entries_apart() {
    let entry = |time, kind, range| FireRecord {
        range,
        kind,
        ..FireRecord::single(time, time, kind, Outcome::Missed { reason: MissReason::TooMany { catch_up_max: 1 } }, 9)
    };
    let keys = [
        entry(255, FireKind::CatchUp, false),
        entry(256, FireKind::Regular, false),
        entry(256, FireKind::Regular, true),
        entry(256, FireKind::Trigger, false),
        entry(256, FireKind::Backfill, true),
        entry(65_536, FireKind::Regular, true),
    ]
    .map(|entry| entry.key(&id("a")));
    assert!(keys.is_sorted_by(|left, right| left < right), "{keys:?}");
    assert_eq!(keys[1], FireRecord::key_of_fire(&id("a"), 256));
    assert_eq!(entry(256, FireKind::Backfill, false).key(&id("a")), keys[1]);
    assert!(keys[1].starts_with(b"default\0a\0\0\0\0\0\0\0\x01\0"));
}

#[test]
fn entries_survive_the_record() {
    let skipped = Outcome::Skipped { reason: SkipReason::Refused { refusal: Refusal::Other("no such queue".into()) } };
    let entry = FireRecord::single(5, 6, FireKind::CatchUp, skipped, 7);
    let text = serde_json::to_string(&entry).unwrap();
    assert_eq!(
        text,
        r#"{"version":1,"time":5,"last":5,"count":1,"kind":"catch_up","scheduled_for":6,"outcome":{"skipped":{"reason":{"refused":{"refusal":{"other":"no such queue"}}}}},"decided_at":7}"#
    );
    assert_eq!(serde_json::from_str::<FireRecord>(&text).unwrap(), entry);
}

#[test]
fn one_fire_has_one_attempt_key() {
    let fire = |kind| crate::Fire { time: 5, scheduled_for: 6, kind };
    assert_eq!(fire(FireKind::Regular).attempt_key(&id("a")), "default/a/fire/5");
    assert_eq!(fire(FireKind::Backfill).attempt_key(&id("a")), "default/a/fire/5");
    assert_eq!(fire(FireKind::Trigger).attempt_key(&id("a")), "default/a/trigger/5");
}

#[test]
fn schedules_are_listed_by_name() {
    let mut desk = Desk::new(Limits::default());
    for name in ["c", "a", "b"] {
        desk.put(name, raw("@hourly")).unwrap();
    }
    let names = |after: Option<&ScheduleId>| -> Vec<_> {
        desk.book.iter_after(after).map(|view| view.record.id.name().to_owned()).collect()
    };
    assert_eq!(names(None), ["a", "b", "c"]);
    assert_eq!(names(Some(&id("a"))), ["b", "c"]);
    assert_eq!(desk.book.len(), 3);
}
