//! Migrations: several processes at once, and a schema from the future.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use testkit::Postgres;

use super::{id, store, submitted, unfinished};
use crate::store::{Error, Store as _};

#[test]
fn processes_that_start_together_migrate_once() {
    const PROCESSES: u32 = 6;
    let url = Postgres::shared().database();
    let start = Arc::new(Barrier::new(usize::try_from(PROCESSES).unwrap()));
    let begin = |number: u32| {
        let (url, start) = (url.clone(), Arc::clone(&start));
        thread::spawn(move || {
            let store = store(&url);
            start.wait();
            store.open(number, 1).unwrap().commit(&[submitted(1)]).unwrap();
        })
    };
    let processes: Vec<_> = (0..PROCESSES).map(begin).collect();
    processes.into_iter().for_each(|process| process.join().unwrap());
    // Once more, on what is there.
    let again = store(&url);
    for number in 0..PROCESSES {
        assert_eq!(unfinished(&*again.open(number, 2).unwrap()), [id(1)]);
    }
}

#[test]
fn a_schema_of_a_newer_program_is_refused_and_left_alone() {
    let url = Postgres::shared().database();
    let running = store(&url);
    let partition = running.open(0, 1).unwrap();
    let migrated = running.0.read("be a newer program", async |connection| {
        let sql = "INSERT INTO mcp_migrations (version, name) VALUES (1000, 'of the future')";
        connection.client().batch_execute(sql).await.unwrap();
        Ok(())
    });
    migrated.unwrap();
    let error = store(&url).open(0, 2).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert!(text.contains("schema mcp") && text.contains("version 1000") && text.contains("newer program"), "{text}");
    // Replicas that run already go on while others are replaced by newer ones.
    partition.commit(&[submitted(1)]).unwrap();
    assert_eq!(unfinished(&*partition), [id(1)]);
}
