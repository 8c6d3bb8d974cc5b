//! The OpenAPI 3.1 document of everything that is registered, and the page that shows it.
//!
//! [`document`] makes it of the descriptors of the services that are there: [`operation`] for each way to call a method
//! ([`path`], [`parameters`]), [`schema`] for messages and enums, [`access`] and [`errors`] for what all have in common.
//! All of that is pure. It is made off the data plane, once for each change and only when somebody asks
//! (`descriptors::derived`), and served as [`content`].

pub(crate) mod access;
mod comments;
pub(crate) mod content;
pub(crate) mod document;
mod errors;
mod known;
mod operation;
pub(crate) mod page;
mod parameters;
mod path;
mod schema;
