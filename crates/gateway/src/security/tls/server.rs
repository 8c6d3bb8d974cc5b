//! The server's side of TLS, and how new files take effect without touching connections that are there.

use std::{fmt, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio::{net::TcpStream, time::sleep};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{files, peer, provider};
use crate::security::settings::TlsSettings;

/// What is spoken inside, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// TLS is on without a certificate: the settings were not checked.
    #[error("no certificate is set")]
    Unset,
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The certificate and the key do not fit, or one of them is of a kind that we do not know.
    #[error("the certificate in `{path}` cannot be used with its key")]
    Certificate {
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The roots for callers' certificates, or the lists of revoked ones, cannot be used.
    #[error("the roots for callers' certificates, or the lists of revoked ones, cannot be used")]
    Roots(#[source] VerifierBuilderError),
    /// The task that reads the files panicked.
    #[error("the files were not read")]
    Panicked(#[source] tokio::task::JoinError),
}

/// The files as they were read.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    certificate: (PathBuf, Vec<u8>),
    key: (PathBuf, Vec<u8>),
    client_ca: Option<(PathBuf, Vec<u8>)>,
    client_crl: Option<(PathBuf, Vec<u8>)>,
}

/// One of them is a secret.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("certificate", &self.certificate.0).finish_non_exhaustive()
    }
}

impl Files {
    fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| files::pem(path).map(|content| (path.clone(), content));
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else {
            return Err(TlsError::Unset);
        };
        let client_ca = settings.client_ca.as_ref().map(read).transpose()?;
        let client_crl = settings.client_crl.as_ref().map(read).transpose()?;
        Ok(Self { certificate: read(certificate)?, key: read(key)?, client_ca, client_crl })
    }

    fn config(&self, client_required: bool) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Certificate { path: self.certificate.0.clone(), source })?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some((path, content)) => {
                let roots = Arc::new(files::roots_of(path, content)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match &self.client_crl {
                    None => verifier,
                    Some((path, content)) => {
                        verifier.with_crls(files::revoked(path, content)?).enforce_revocation_expiration()
                    }
                };
                let verifier = if client_required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Roots)?)
            }
        };
        let chain = files::certificates(&self.certificate.0, &self.certificate.1)?;
        let key = files::private_key(&self.key.0, &self.key.1)?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|source| TlsError::Certificate { path: self.certificate.0.clone(), source })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(config)
    }
}

/// TLS as it is set up now. Clones of what it gives out go on as they are.
#[derive(Debug)]
pub(crate) struct Tls {
    settings: TlsSettings,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// TLS from the files that the settings name.
    ///
    /// # Errors
    /// A file cannot be used, or they do not fit together.
    pub(crate) async fn load(settings: &TlsSettings) -> Result<(Self, Follower), TlsError> {
        let (files, config) = load(settings.clone(), None).await?.ok_or(TlsError::Unset)?;
        let tls = Self { settings: settings.clone(), current: ArcSwap::from_pointee(config) };
        Ok((tls, Follower { last: files }))
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// The other end speaks no TLS, or has no certificate that is accepted.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current.load_full()).accept(stream).await
    }

    /// Looks at the files for ever, and takes over what changed. What cannot be used changes nothing.
    pub(crate) async fn follow(self: Arc<Self>, mut follower: Follower) {
        loop {
            sleep(self.settings.reload_interval).await;
            follower.step(&self).await;
        }
    }
}

/// What the files held last.
#[derive(Debug)]
pub(crate) struct Follower {
    last: Files,
}

impl Follower {
    async fn step(&mut self, tls: &Tls) {
        match load(tls.settings.clone(), Some(self.last.clone())).await {
            Ok(None) => {}
            Ok(Some((files, config))) => {
                tls.current.store(Arc::new(config));
                self.last = files;
                tracing::info!(certificate = ?tls.settings.certificate, "certificate taken over");
            }
            // Files are often written one after the other: the next look may find that they fit.
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::warn!(error = format!("{error:#}"), "certificate not taken over: the last one stays");
            }
        }
    }
}

/// Reads the files and sets TLS up with them; `None` when they hold what they held `last`.
async fn load(settings: TlsSettings, last: Option<Files>) -> Result<Option<(Files, ServerConfig)>, TlsError> {
    let work = move || {
        let files = Files::read(&settings)?;
        if last.as_ref() == Some(&files) {
            return Ok(None);
        }
        let config = files.config(settings.client_required)?;
        Ok(Some((files, config)))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(TlsError::Panicked(panic)))
}

/// The name in the certificate at the other end, when it showed one.
pub(crate) fn peer_name(stream: &TlsStream<TcpStream>) -> Option<String> {
    let (_, connection) = stream.get_ref();
    peer::name(connection.peer_certificates()?.first()?)
}
