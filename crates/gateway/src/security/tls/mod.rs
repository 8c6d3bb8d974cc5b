//! TLS on the gateway's port: what it is set up with, how that changes while it runs, and who is at the other end.

pub(crate) mod files;
pub(crate) mod peer;
pub(crate) mod server;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The one provider of cryptography in the program. Named everywhere instead of installed for the process: a library
/// must not decide that for the program around it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
