//! Tokens (JWT): who issued one, whether it holds now, and what it says.
//!
//! `verify` decides and `claims` reads; both are pure. `keyset` is what an issuer signs with, `source` keeps it fresh.

pub(crate) mod claims;
pub(crate) mod keyset;
pub(crate) mod source;
pub(crate) mod verify;
