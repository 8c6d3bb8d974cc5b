//! The gateway over real sockets: embedded coordination, test services behind it, real clients in front.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod backend;
mod balance;
mod descriptors;
mod drain;
mod dynamic;
mod fair;
mod faulty;
mod forwarded;
mod frames;
mod grpc_web;
mod json;
mod limits;
mod memory;
mod observe;
mod openapi;
mod proxy;
mod resilience;
mod routes;
mod security;
mod sink;
mod streams;
mod support;
mod uploads;
mod websocket;
