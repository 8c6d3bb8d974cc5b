//! HTTP/JSON in front of gRPC, by the `google.api.http` rules in the services' descriptors.
//!
//! [`rules`] compiles the rules of one service, [`router`] holds the routes of all; both know only descriptors, so
//! they work as well with those that a service tells by reflection. [`serve`] answers requests.

mod convert;
pub(crate) mod frames;
pub(crate) mod json;
mod percent;
mod receive;
mod request;
pub(crate) mod router;
pub(crate) mod rules;
mod scalar;
pub(crate) mod serve;
mod template;
mod trie;
