//! HTTP/JSON in front of gRPC, by the `google.api.http` rules in the services' descriptors.
//!
//! [`rules`] compiles the rules of one service, [`router`] holds the routes of all; both know only descriptors, so
//! they work as well with those that a service tells by reflection. [`serve`] answers requests,
//! [`send`] makes their calls.

pub(crate) mod convert;
mod finite;
pub(crate) mod frames;
#[cfg(test)]
mod fuzz;
pub(crate) mod json;
pub(crate) mod percent;
mod raw;
pub(crate) mod receive;
pub(crate) mod request;
pub(crate) mod router;
pub(crate) mod rules;
mod scalar;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod template;
pub(crate) mod trie;
mod upload;
