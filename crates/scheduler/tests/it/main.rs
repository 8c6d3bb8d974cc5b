//! The scheduler over real sockets: its own server, its own store, a worker played by the test.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod dead_letters;
mod embed;
mod explain;
mod limits;
mod lists;
mod once;
mod queues;
mod replicas;
mod restarts;
mod retries;
mod scaling;
mod schedules;
mod sessions;
mod streams;
mod support;
mod tasks;
mod uniqueness;
mod workflows;
