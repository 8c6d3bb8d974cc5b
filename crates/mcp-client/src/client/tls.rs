//! TLS towards a gateway.

use std::sync::Arc;

use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use mcp_proto::{Code, Error};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Makes connections with TLS and HTTP/2 in it. `ca`: the roots to trust, in PEM form, instead of this machine's.
///
/// # Errors
/// Those of [`config`].
pub(super) fn connector(ca: Option<&[u8]>) -> Result<HttpsConnector<HttpConnector>, Error> {
    Ok(HttpsConnectorBuilder::new().with_tls_config(config(ca)?).https_only().enable_http2().build())
}

/// How servers are known. `ca`: the roots to trust, in PEM form, instead of this machine's.
///
/// # Errors
/// `INVALID_ARGUMENT` for `ca` when there is no certificate in it, `FAILED_PRECONDITION` when this machine has no roots.
pub(crate) fn config(ca: Option<&[u8]>) -> Result<ClientConfig, Error> {
    let unusable = |error: String| Error::new(Code::FailedPrecondition, format!("TLS cannot be used: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = match ca {
        Some(pem) => builder.with_root_certificates(roots(pem)?),
        None => builder.with_native_roots().map_err(|error| unusable(error.to_string()))?,
    };
    Ok(builder.with_no_client_auth())
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(Error::invalid("ca", "holds no certificate in PEM form"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_must_be_certificates() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"] {
            assert_eq!(connector(Some(pem.as_bytes())).unwrap_err().violations()[0].field, "ca", "{pem}");
        }
    }
}
