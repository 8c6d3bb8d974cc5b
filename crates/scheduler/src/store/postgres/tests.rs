//! The conformance suite, and what only a server can do: go away, come back, and be used by several processes.

mod advice;
mod plans;
mod versions;

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use mcp_proto::{
    TaskId,
    scheduler::v1::{TaskSpec, TaskState},
};
use testkit::Postgres;

use super::{PostgresSettings, PostgresStore};
use crate::store::{Error, Fixed, Loaded, Moving, Part, PartitionStore, Store, Write};

/// Opens the store in one database of the shared server.
fn stores() -> impl FnMut() -> Arc<dyn Store> {
    let url = Postgres::shared().database();
    move || Arc::new(store(&url))
}

crate::store_conformance!(conformance, super::stores());

/// As long as a test waits for a server that does not answer.
const IMPATIENT: Duration = Duration::from_millis(500);

fn store(url: &str) -> PostgresStore {
    PostgresStore::connect(PostgresSettings::new(url)).unwrap()
}

fn impatient(url: &str) -> PostgresStore {
    let settings = PostgresSettings {
        connect_timeout: IMPATIENT,
        commit_timeout: IMPATIENT,
        read_timeout: IMPATIENT,
        ..PostgresSettings::new(url)
    };
    PostgresStore::connect(settings).unwrap()
}

fn id(n: u64) -> TaskId {
    TaskId::new(n, 0, 0, 0)
}

fn submitted(n: u64) -> Write {
    let (fixed, whole) = Fixed::encode(TaskSpec::default(), 0, 0, "", None);
    let moving = Moving { state: TaskState::Pending.into(), ..Moving::default() };
    Write::Submitted { id: id(n), fixed, whole, moving, key: None }
}

fn unfinished(partition: &dyn PartitionStore) -> Vec<TaskId> {
    let mut found = Vec::new();
    let visit = &mut |loaded| {
        if let Loaded::Unfinished(task) = loaded {
            found.push(task.id);
        }
    };
    partition.load(0, visit).unwrap();
    found
}

/// Opens the partition as soon as the server lets us.
fn opened(store: &PostgresStore, epoch: u64) -> Arc<dyn PartitionStore> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match store.open(0, epoch) {
            Ok(partition) => return partition,
            Err(Error::Unavailable { .. }) if Instant::now() < deadline => thread::yield_now(),
            Err(error) => panic!("cannot open: {error:?}"),
        }
    }
}

#[test]
fn what_was_acknowledged_outlives_a_crash_of_the_server() {
    let server = Postgres::start();
    let store = Arc::new(store(&server.database()));
    let partition = store.open(0, 1).unwrap();
    let crash_at = Arc::new(Barrier::new(2));
    let commits = {
        let (partition, crash_at) = (Arc::clone(&partition), Arc::clone(&crash_at));
        // Commits until one fails; what was acknowledged is what came before it.
        move || {
            for n in 1.. {
                if let Err(error) = partition.commit(&[submitted(n)]) {
                    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
                    return n - 1;
                }
                if n == 50 {
                    crash_at.wait();
                }
            }
            unreachable!("the server is stopped meanwhile")
        }
    };
    let writer = thread::spawn(commits);
    crash_at.wait();
    server.stop();
    let acknowledged = writer.join().unwrap();
    assert!(matches!(store.open(0, 2), Err(Error::Unavailable { .. })));
    server.restart();

    let again = opened(&store, 2);
    let found = unfinished(&*again);
    assert!(found.len() as u64 - acknowledged <= 1, "{} of {acknowledged}", found.len());
    assert_eq!(found[..usize::try_from(acknowledged).unwrap()], (1..=acknowledged).map(id).collect::<Vec<_>>());
    // The old handle does not know what became of its last commit.
    assert!(partition.commit(&[submitted(1_000_000)]).is_err());
    again.commit(&[submitted(1_000_001)]).unwrap();
    assert_eq!(unfinished(&*again).last(), Some(&id(1_000_001)));
}

#[test]
fn a_handle_of_a_lost_connection_must_be_opened_again() {
    let server = Postgres::start();
    let store = store(&server.database());
    let (zero, one) = (store.open(0, 1).unwrap(), store.open(1, 1).unwrap());
    server.restart();
    assert!(matches!(zero.commit(&[submitted(1)]), Err(Error::Unavailable { .. })));
    let zero = opened(&store, 1);
    let writes = [submitted(2)];
    let parts = [&zero, &one].map(|partition| Part { partition: &**partition, writes: &writes });
    assert!(matches!(store.commit(&parts), Err(Error::Unavailable { .. })));
    assert!(matches!(one.advance(4), Err(Error::Unavailable { .. })));
    zero.commit(&writes).unwrap();
    store.open(1, 1).unwrap().commit(&writes).unwrap();
}

#[test]
fn a_server_that_is_away_or_frozen_is_unavailable_in_time() {
    let server = Postgres::start();
    let url = server.database();
    server.stop();
    let store = impatient(&url);
    assert!(matches!(store.open(0, 1), Err(Error::Unavailable { .. })));
    assert!(matches!(store.newest_epoch(0), Err(Error::Unavailable { .. })));
    server.restart();
    let partition = opened(&store, 1);
    assert!(partition.get(id(1)).unwrap().is_none());
    server.pause();
    let begun = Instant::now();
    assert!(matches!(partition.get(id(1)), Err(Error::Unavailable { .. })));
    assert!(matches!(partition.commit(&[submitted(1)]), Err(Error::Unavailable { .. })));
    assert!(matches!(store.open(0, 1), Err(Error::Unavailable { .. })));
    assert!(begun.elapsed() < 10 * IMPATIENT, "took {:?}", begun.elapsed());
    server.resume();
    // The commit that nobody waited for is there or not; a later one of the same handle never is.
    let again = opened(&store, 1);
    assert!(partition.commit(&[submitted(2)]).is_err());
    again.commit(&[submitted(3)]).unwrap();
    let found = unfinished(&*again);
    assert!(found == [id(3)] || found == [id(1), id(3)], "{found:?}");
}

#[test]
fn of_two_processes_the_newer_owner_writes() {
    let url = Postgres::shared().database();
    let (old, new) = (store(&url), store(&url));
    let before = old.open(0, 1).unwrap();
    before.commit(&[submitted(1)]).unwrap();
    let after = new.open(0, 2).unwrap();
    after.commit(&[submitted(2)]).unwrap();
    assert!(matches!(before.commit(&[submitted(3)]), Err(Error::Fenced { partition: 0, epoch: 1, newest: 2 })));
    assert!(matches!(before.sweep(9, 9), Ok(swept) if swept.tasks == 0));
    assert!(matches!(old.open(0, 1), Err(Error::Fenced { epoch: 1, newest: 2, .. })));
    assert_eq!(unfinished(&*after), [id(1), id(2)]);
}

/// Otherwise the new owner would load what the old one is about to change.
#[test]
fn an_opening_waits_for_a_commit_that_has_passed_the_fence() {
    let url = Postgres::shared().database();
    let (old, new) = (store(&url), impatient(&url));
    let before = old.open(0, 1).unwrap();
    new.newest_epoch(0).unwrap(); // connected, so that it waits for nothing but the fence
    thread::scope(|scope| {
        let commit = old.0.read("hold the commit up", async |connection| {
            let client = connection.client();
            client.batch_execute("BEGIN; LOCK TABLE open_tasks IN SHARE MODE").await.unwrap();
            let commit = scope.spawn(|| before.commit(&[submitted(1)]));
            let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
                           WHERE NOT granted AND datname = current_database()";
            while client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
            assert!(matches!(new.open(0, 2), Err(Error::Unavailable { .. })));
            client.batch_execute("COMMIT").await.unwrap();
            Ok(commit)
        });
        commit.unwrap().join().unwrap().unwrap();
    });
    let after = opened(&new, 2);
    assert_eq!(unfinished(&*after), [id(1)]);
    assert!(matches!(before.commit(&[submitted(2)]), Err(Error::Fenced { .. })));
}

/// Whoever opens last in the server's order writes; whatever another one was told is durable comes before it.
#[test]
fn openers_that_race_leave_one_writer() {
    const OPENERS: u64 = 8;
    let url = Postgres::shared().database();
    store(&url).open(0, 1).unwrap();
    let start = Arc::new(Barrier::new(usize::try_from(OPENERS).unwrap()));
    let race = |opener: u64| {
        let (url, start) = (url.clone(), Arc::clone(&start));
        thread::spawn(move || {
            let store = store(&url);
            store.newest_epoch(0).unwrap(); // connected before the start
            start.wait();
            let partition = store.open(0, 5).unwrap();
            let committed =
                (0..20).map(|n| opener * 100 + n).take_while(|n| partition.commit(&[submitted(*n)]).is_ok());
            let committed: Vec<_> = committed.collect();
            (store, partition, committed)
        })
    };
    let racers: Vec<_> = (1..=OPENERS).map(race).collect();
    let racers: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
    let writers = racers.iter().filter(|(_, partition, _)| partition.commit(&[submitted(9_999)]).is_ok()).count();
    assert_eq!(writers, 1);
    let mut expected: Vec<_> = racers.iter().flat_map(|(.., committed)| committed).map(|n| id(*n)).collect();
    expected.push(id(9_999));
    expected.sort_unstable();
    assert_eq!(unfinished(&*racers[0].1), expected);
}

#[test]
fn schemas_of_one_database_are_apart() {
    let url = Postgres::shared().database();
    let in_schema = |schema: &str| {
        let settings = PostgresSettings { schema: schema.to_owned(), ..PostgresSettings::new(&url) };
        PostgresStore::connect(settings).unwrap()
    };
    let (blue, green) = (in_schema("blue"), in_schema("green"));
    let partition = blue.open(0, 7).unwrap();
    partition.commit(&[submitted(1)]).unwrap();
    assert_eq!(green.newest_epoch(0).unwrap(), 0);
    assert_eq!(unfinished(&*green.open(0, 1).unwrap()), []);
    partition.commit(&[submitted(2)]).unwrap();
}

/// Reads have connections of their own: what holds them all up holds up no commit.
#[test]
fn readers_do_not_delay_a_commit() {
    let url = Postgres::shared().database();
    let store = PostgresStore::connect(PostgresSettings { pool_size: 2, ..PostgresSettings::new(&url) }).unwrap();
    let partition = store.open(0, 1).unwrap();
    let (store, release) = (Arc::new(store), Arc::new(Barrier::new(3)));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, release) = (Arc::clone(&store), Arc::clone(&release));
            thread::spawn(move || {
                store.0.read("hold a connection", async |_| {
                    release.wait();
                    release.wait();
                    Ok(())
                })
            })
        })
        .collect();
    release.wait();
    partition.commit(&[submitted(1)]).unwrap();
    release.wait();
    readers.into_iter().for_each(|reader| reader.join().unwrap().unwrap());
    assert_eq!(unfinished(&*partition), [id(1)]);
}
