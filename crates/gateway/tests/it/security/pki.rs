//! A certificate authority, and clients that use its certificates.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use gateway::Config;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The name that servers have, beside the address on which they listen here.
const SERVER: &str = "gateway.test";

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: KeyPair,
    serial: SerialNumber,
    pem: String,
}

/// An authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, mut params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let serial = SerialNumber::from(rand::random::<u64>() >> 1);
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key, serial }
    }

    /// A certificate for the gateway.
    pub(crate) fn server(&self) -> Identity {
        let mut params = CertificateParams::new(vec![SERVER.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate for a caller.
    pub(crate) fn client(&self, uri: &str) -> Identity {
        self.issue(client(uri))
    }

    /// A list that revokes these, in PEM; it holds until `next_year`.
    pub(crate) fn revoking(&self, revoked: &[&Identity], next_year: i32) -> String {
        let revoked = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: date_time_ymd(2018, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2019, 1, 1),
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// One that has ended long ago.
    pub(crate) fn expired_client(&self, uri: &str) -> Identity {
        let mut params = client(uri);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        self.issue(params)
    }
}

fn client(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// The files of a gateway.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new(authority: &Authority) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.put(&authority.server());
        std::fs::write(files.path("ca.pem"), &authority.pem).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces certificate and key, one after the other, as most tools do.
    pub(crate) fn put(&self, identity: &Identity) {
        std::fs::write(self.path("cert.pem"), &identity.pem).unwrap();
        std::fs::write(self.path("key.pem"), identity.key.serialize_pem()).unwrap();
    }

    pub(crate) fn break_certificate(&self) {
        std::fs::write(self.path("cert.pem"), "not a certificate").unwrap();
    }

    /// Sets a gateway up with them.
    pub(crate) fn configure(&self, config: &mut Config) {
        let tls = &mut config.gateway.security.tls;
        (tls.certificate, tls.key) = (Some(self.path("cert.pem")), Some(self.path("key.pem")));
        tls.reload_interval = std::time::Duration::from_millis(20);
    }

    /// The file with the lists of revoked certificates.
    pub(crate) fn put_crl(&self, pem: &str) -> PathBuf {
        let path = self.path("crl.pem");
        std::fs::write(&path, pem).unwrap();
        path
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }
}

/// A client that trusts the authority and shows a certificate, or none.
pub(crate) fn trusting(authority: &Authority, identity: Option<&Identity>, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![identity.certificate.clone()], key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn connect(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    connector.connect(ServerName::try_from(SERVER).unwrap(), stream).await
}

/// A GET on a connection of its own, by what was agreed on it. An error says that there was no answer.
pub(crate) async fn get(
    connector: &TlsConnector,
    address: SocketAddr,
    path: &str,
) -> Result<(StatusCode, String), String> {
    let stream = connect(connector, address).await.map_err(|error| error.to_string())?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let uri = format!("https://{SERVER}{path}");
    let io = TokioIo::new(stream);
    let response: Result<Response<hyper::body::Incoming>, hyper::Error> = if is_h2 {
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        sender.send_request(Request::get(uri).body(Full::<Bytes>::default()).unwrap()).await
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let request = Request::get(path).header("host", SERVER).body(Full::<Bytes>::default()).unwrap();
        sender.send_request(request).await
    };
    let response = response.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
