//! Routes: which requests are meant, and what happens to them.
//!
//! A record (`mcp.gateway.v1.Route` with the policies that it names) is compiled: [`compiled`] from `hosts`, `path`,
//! `predicate`, `rewrite` and [`action`]; whatever is wrong is told field by field (`violations`). All of them make a
//! [`table`], in which `paths` finds the one of a request. [`facts`] is what the end of the onion has to know.
//!
//! [`service`] is the interface, `store` and `record` how records lie in coordination. [`follow`] watches them, and
//! `known` says what is in force because of them.

mod access;
pub(crate) mod action;
mod arena;
pub(crate) mod compiled;
pub(crate) mod facts;
pub(crate) mod follow;
pub(crate) mod hosts;
mod known;
mod path;
mod paths;
pub(crate) mod predicate;
mod rates;
mod record;
pub(crate) mod rewrite;
pub(crate) mod service;
mod settings;
mod store;
pub(crate) mod table;
mod texts;
mod upstream;
pub(crate) mod view;
pub(crate) mod violations;

#[cfg(test)]
mod tests;
