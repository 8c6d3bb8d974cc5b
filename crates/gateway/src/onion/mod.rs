//! The layers around the answering of a request: tower layers, planned once for each route ([`plan`]), put together once
//! for each route and data-plane thread, never for each request. A route without layers has none of this on its way.
//!
//! [`layers`] says which there are and in what order; a new one is a file here and a line there. [`service`] is what
//! they wrap and are, `plain` lends them those of tower-http. Who may call and how often is
//! decided inside of all layers (`gate`), when it is known where a request goes.

mod body_limit;
pub(crate) mod composed;
mod compression;
mod cors;
#[cfg(test)]
mod example;
pub(crate) mod form;
mod headers;
pub(crate) mod layers;
mod log;
mod mirror;
mod plain;
pub(crate) mod plan;
pub(crate) mod service;
mod tee;
#[cfg(test)]
mod tests;
mod timeout;
