//! What the gateway counts.
//!
//! What is counted for each request is kept in a [`sheet`](sheet::Sheet) for each data-plane thread: only that thread
//! writes to it, and whoever is counted holds its cells, so that counting is a few additions. [`page`] adds the sheets up
//! when somebody asks. Labels have a closed set of values: methods that no descriptor names count as `other`, paths are
//! no label.

mod histogram;
mod instruments;
mod labels;
mod methods;
mod page;
mod routes;
mod sheet;
mod upstreams;

pub(crate) use histogram::Mark;
pub(crate) use instruments::{Instruments, Level, Raised, UpstreamEvent};
pub(crate) use labels::{Answered, Protocol, Verb};
pub(crate) use methods::{Method, Methods};
pub(crate) use page::write;
pub(crate) use routes::RouteTally;
pub(crate) use sheet::Sheet;
pub(crate) use upstreams::UpstreamTally;
