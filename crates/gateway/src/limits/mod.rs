//! How often a caller may call: token buckets by route, principal and address.
//!
//! Buckets are this gateway's own: with N gateways a caller has N times as much. `bucket` is the rule, `limiter` keeps a
//! bounded number of buckets, `fields` tells callers how they stand, `pace` is the least speed of a request's body.

pub(crate) mod bucket;
pub(crate) mod fields;
pub(crate) mod limiter;
pub(crate) mod pace;
pub(crate) mod settings;
