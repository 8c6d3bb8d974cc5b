//! API keys: what they look like, how they are kept, and the service that makes and revokes them.
//!
//! A key is shown once, when it is made. What is kept is a hash of it. Keys are random and long, so a plain hash is
//! enough: nobody can try them out.

pub(crate) mod record;
pub(crate) mod service;
pub(crate) mod store;
