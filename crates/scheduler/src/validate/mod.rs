//! Requests from the wire, checked and with their defaults filled in.
//!
//! Every bound written in the .proto files is held here. A violation names the field by its path from the request's
//! root; the violations of a request come back together, up to a bound.

mod fields;
mod intake;
mod mapping;
mod page_token;
mod placement;
mod queries;
mod spec;
#[cfg(test)]
mod tests;

pub(crate) use intake::{Intake, NewTask};
pub(crate) use mapping::{Mapping, Names};
pub(crate) use page_token::PageToken;
pub(crate) use queries::{ListFilter, WatchFilter, cancel, list, wait_timeout, watch};
