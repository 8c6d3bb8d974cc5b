//! Failures that a person can mend say how.

use std::{error::Error as _, net::TcpListener};

use testkit::{Postgres, postgres::GUARDED};

use super::{impatient, store, submitted};
use crate::store::{Error, PostgresStore, Store as _};

/// Why the store cannot be opened, with all causes.
fn refusal(url: &str) -> String {
    let error = impatient(url).open(0, 1).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn run(store: &PostgresStore, sql: &str) {
    let ran = store.0.read("prepare a test", async |connection| {
        connection.client().batch_execute(sql).await.unwrap();
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn a_user_who_is_not_let_in_is_told_why() {
    let url = Postgres::shared().database();
    let admin = store(&url);
    run(&admin, &format!("CREATE ROLE {GUARDED} LOGIN PASSWORD 'right'"));
    let with = |user: &str| url.replace("postgres@", &format!("{user}@"));

    let text = refusal(&with("guarded:mistaken"));
    assert!(text.contains("check user and password") && text.contains("password authentication failed"), "{text}");
    assert!(!text.contains("mistaken"), "{text}");
    assert!(refusal(&with(GUARDED)).contains("put one into the URL"));
    assert!(refusal(&with("nobody_made_me")).contains("check user and password"));

    let guarded = with("guarded:right");
    let text = refusal(&guarded);
    assert!(text.contains("GRANT CREATE ON DATABASE"), "{text}");
    // A schema that is there needs no right to make anything.
    admin.open(0, 1).unwrap();
    run(
        &admin,
        "GRANT USAGE ON SCHEMA mcp TO guarded;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mcp TO guarded",
    );
    store(&guarded).open(0, 1).unwrap().commit(&[submitted(1)]).unwrap();
}

#[test]
fn a_wrong_url_is_told_what_is_wrong_with_it() {
    let server = Postgres::shared();
    let text = refusal(&server.url("nobody_made_it"));
    assert!(text.contains("CREATE DATABASE") && text.contains("nobody_made_it"), "{text}");
    let text = refusal(&format!("{}?sslmode=require", server.url("postgres")));
    assert!(text.contains("sslmode"), "{text}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = refusal(&format!("postgres://postgres@{free}/postgres"));
    assert!(text.contains("start PostgreSQL"), "{text}");
    let text = refusal("postgres://postgres@nowhere.invalid/postgres");
    assert!(text.contains("host"), "{text}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_told_from_one_that_is_away() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = refusal(&format!("postgres://postgres@{}/postgres", silent.local_addr().unwrap()));
    assert!(text.contains("no answer within"), "{text}");
}

#[test]
fn a_schema_whose_tables_are_gone_says_so() {
    let url = Postgres::shared().database();
    let store = store(&url);
    let partition = store.open(0, 1).unwrap();
    run(&store, "DROP TABLE open_tasks");
    let error = partition.commit(&[submitted(1)]).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("restore it"), "{error:?}");
}
