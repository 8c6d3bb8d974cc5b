//! Who calls, how that is proved, and what they may do.
//!
//! `authenticator` finds out who calls: by an API key (`keys`), a token (`jwt`) or a certificate (`tls`). `authorize`
//! decides by the table in `roles` whether they may, and where: a principal whose roles hold in some namespaces only has
//! its requests read for the namespaces that they speak of (`scope`). Keys of all kinds are followed on the control
//! plane and read here through a pointer that is swapped, so a call takes no lock.

pub(crate) mod authenticator;
pub(crate) mod authorize;
pub(crate) mod cache;
pub(crate) mod jwt;
pub(crate) mod keys;
pub(crate) mod principal;
pub(crate) mod roles;
pub(crate) mod scope;
pub(crate) mod settings;
pub(crate) mod start;
pub(crate) mod tls;

pub use principal::Grants;
