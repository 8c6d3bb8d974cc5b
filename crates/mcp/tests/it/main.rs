//! The whole system over real sockets, processes and etcd.

#![expect(clippy::unwrap_used, reason = "a test may panic, and then says where")]

mod bad_input;
mod chaos;
mod closed;
mod commands;
mod crash;
mod dev;
mod end_to_end;
mod etcd_outage;
mod examples;
mod frames;
mod http_forms;
mod queues;
mod rolling;
mod same_call;
mod support;
