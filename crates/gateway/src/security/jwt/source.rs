//! Keeps the keys of an issuer fresh: from a file or a URL, in intervals, and when a token names a key that is unknown.
//!
//! What was read last counts until something that can be used is read. Reads that tokens cause are rare whatever tokens
//! come: otherwise anybody could make us call the issuer as often as they like.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonwebtoken::Algorithm;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use super::keyset::{KeyError, KeySet, Secrets};
use crate::security::{settings::IssuerSettings, tls::files};

/// Longest time for a read.
const READ_MAX: Duration = Duration::from_secs(5);

/// Largest file or answer, in bytes.
const BYTES_MAX: usize = 1024 * 1024;

/// How often a file is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(5);

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The file cannot be read.
    #[error("`{path}` cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The roots for the URL cannot be used.
    #[error("the roots for the URL of the keys cannot be used")]
    Roots(#[source] files::FileError),
    /// This machine's roots cannot be read.
    #[error("the roots of this machine cannot be used")]
    NativeRoots(#[source] std::io::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The URL is wrong.
    #[error("the URL of the keys is wrong")]
    Url(#[source] http::Error),
    /// Nobody answers at the URL.
    #[error("the URL of the keys does not answer")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// The answer is not whole, or too large.
    #[error("the answer with the keys cannot be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not 200.
    #[error("the URL of the keys answers HTTP {0}")]
    Status(StatusCode),
    /// It takes too long.
    #[error("reading the keys took longer than {READ_MAX:?}")]
    Slow,
    /// What was read are no keys.
    #[error("what was read cannot be used")]
    Keys(#[from] KeyError),
}

/// An issuer and its keys.
#[derive(Debug)]
pub(crate) struct Source {
    /// What the issuer may say.
    pub(crate) settings: IssuerSettings,
    algorithms: Vec<Algorithm>,
    reader: Reader,
    keys: ArcSwap<KeySet>,
    version: AtomicU64,
    /// Finished reads, good or not.
    reads: watch::Sender<u64>,
    asked: Notify,
    asking: Mutex<Asking>,
}

/// Reads that tokens asked for.
#[derive(Debug, Default)]
struct Asking {
    since: Option<Instant>,
    is_under_way: bool,
}

/// Where keys come from.
#[derive(Debug)]
enum Reader {
    /// They never change.
    Fixed,
    Pem(PathBuf),
    Set(PathBuf),
    Url(String, Box<HttpClient>),
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

impl Source {
    /// The source of an issuer. It has keys after the first [`read`](Self::read).
    ///
    /// # Errors
    /// The roots for an `https` URL cannot be used.
    pub(crate) fn new(settings: &IssuerSettings) -> Result<Self, SourceError> {
        let reader = match (&settings.key_file, &settings.jwks_file, &settings.jwks_url) {
            (Some(path), _, _) => Reader::Pem(path.clone()),
            (_, Some(path), _) => Reader::Set(path.clone()),
            (_, _, Some(url)) => {
                Reader::Url(url.clone(), Box::new(http_client(settings.jwks_ca.as_deref(), url.starts_with("https:"))?))
            }
            (None, None, None) => Reader::Fixed,
        };
        let algorithms: Vec<Algorithm> = settings.algorithms.iter().filter_map(|name| name.parse().ok()).collect();
        let keys = match reader {
            Reader::Fixed => KeySet::of_secret(settings.secret.expose()).limited_to(&algorithms),
            _ => KeySet::default(),
        };
        Ok(Self {
            settings: settings.clone(),
            algorithms,
            reader,
            keys: ArcSwap::from_pointee(keys),
            version: AtomicU64::new(0),
            reads: watch::Sender::new(0),
            asked: Notify::new(),
            asking: Mutex::default(),
        })
    }

    /// The keys of now.
    pub(crate) fn keys(&self) -> Arc<KeySet> {
        self.keys.load_full()
    }

    /// Grows whenever the keys were read anew.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Reads the keys once; the last ones stay when that fails.
    ///
    /// # Errors
    /// Why they cannot be read or used.
    pub(crate) async fn read(&self) -> Result<(), SourceError> {
        let result = timeout(READ_MAX, self.reader.read()).await.unwrap_or(Err(SourceError::Slow));
        let result = result.map(|keys| {
            if let Some(keys) = keys {
                self.keys.store(Arc::new(keys.limited_to(&self.algorithms)));
                self.version.fetch_add(1, Ordering::AcqRel);
            }
        });
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).is_under_way = false;
        self.reads.send_modify(|reads| *reads += 1);
        result
    }

    /// Reads the keys for ever: in intervals, and when asked.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let interval = match self.reader {
            Reader::Fixed => return,
            Reader::Pem(_) | Reader::Set(_) => self.settings.refresh.min(FILE_INTERVAL),
            Reader::Url(..) => self.settings.refresh,
        };
        let mut interval_now = interval;
        loop {
            tokio::select! {
                () = sleep(interval_now) => {}
                () = self.asked.notified() => {}
            }
            interval_now = match self.read().await {
                Ok(()) => interval,
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::warn!(
                        issuer = self.settings.issuer,
                        error = format!("{error:#}"),
                        "keys not read: the last ones stay"
                    );
                    self.settings.refetch_min.min(interval)
                }
            };
        }
    }

    /// Has the keys read because one is unknown, and waits for that. False when they were asked for a moment ago, so
    /// that nothing new is to be expected.
    pub(crate) async fn read_for_unknown_key(&self) -> bool {
        if matches!(self.reader, Reader::Fixed) {
            return false;
        }
        let mut reads = self.reads.subscribe();
        {
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            if !asking.is_under_way {
                let now = Instant::now();
                if asking.since.is_some_and(|since| now < since + self.settings.refetch_min) {
                    return false;
                }
                *asking = Asking { since: Some(now), is_under_way: true };
                self.asked.notify_one();
            }
        }
        matches!(timeout(READ_MAX, reads.changed()).await, Ok(Ok(())))
    }
}

impl Reader {
    /// The keys; `None` when they never change.
    async fn read(&self) -> Result<Option<KeySet>, SourceError> {
        Ok(match self {
            Self::Fixed => None,
            Self::Pem(path) => Some(KeySet::of_pem(&file(path).await?)?),
            Self::Set(path) => Some(KeySet::of_json(&file(path).await?, Secrets::Taken)?),
            Self::Url(url, client) => Some(KeySet::of_json(&get(client, url).await?, Secrets::LeftOut)?),
        })
    }
}

async fn file(path: &Path) -> Result<Vec<u8>, SourceError> {
    let path = path.to_owned();
    let read = move || files::read(&path, BYTES_MAX).map_err(|source| SourceError::File { path, source });
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|panic| Err(SourceError::Answer(Box::new(panic))))
}

async fn get(client: &HttpClient, url: &str) -> Result<Bytes, SourceError> {
    let request = Request::get(url)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .body(Empty::new())
        .map_err(SourceError::Url)?;
    let response = client.request(request).await.map_err(SourceError::Unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(SourceError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), BYTES_MAX).collect().await.map_err(SourceError::Answer)?;
    Ok(body.to_bytes())
}

/// `needs_roots`: this machine's are asked for, which a small container may not have.
fn http_client(roots: Option<&Path>, needs_roots: bool) -> Result<HttpClient, SourceError> {
    let builder = rustls::ClientConfig::builder_with_provider(crate::security::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(SourceError::Tls)?;
    let builder = match roots {
        Some(path) => builder.with_root_certificates(files::roots(path).map_err(SourceError::Roots)?),
        None if !needs_roots => builder.with_root_certificates(rustls::RootCertStore::empty()),
        None => builder.with_native_roots().map_err(SourceError::NativeRoots)?,
    };
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(builder.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(ids: &[&str]) -> String {
        let keys: Vec<_> = ids.iter().map(|id| json!({"kty": "oct", "k": "c2VjcmV0", "kid": id})).collect();
        json!({ "keys": keys }).to_string()
    }

    fn of_file(path: &Path) -> Source {
        Source::new(&IssuerSettings { jwks_file: Some(path.to_owned()), ..IssuerSettings::default() }).unwrap()
    }

    #[tokio::test]
    async fn what_cannot_be_read_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = of_file(file.path());
        std::fs::write(file.path(), set(&["a"])).unwrap();
        source.read().await.unwrap();
        assert!(source.keys().find(Some("a")).is_some());
        let version = source.version();
        for broken in ["", "<html>", "{\"keys\":[]}", &"x".repeat(BYTES_MAX + 1)] {
            std::fs::write(file.path(), broken).unwrap();
            assert!(source.read().await.is_err());
            assert!(source.keys().find(Some("a")).is_some() && source.version() == version);
        }
        std::fs::write(file.path(), set(&["b"])).unwrap();
        source.read().await.unwrap();
        assert!(source.keys().find(Some("a")).is_none() && source.keys().find(Some("b")).is_some());
        assert!(source.version() > version);
    }

    #[tokio::test]
    async fn unknown_keys_cause_few_reads_and_all_wait_for_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), set(&["a"])).unwrap();
        let settings = IssuerSettings {
            jwks_file: Some(file.path().to_owned()),
            refresh: Duration::from_secs(3_600),
            refetch_min: Duration::from_secs(3_600),
            ..IssuerSettings::default()
        };
        let source = Arc::new(Source::new(&settings).unwrap());
        let reads = source.reads.subscribe();
        let reader = tokio::spawn(Arc::clone(&source).keep_fresh());
        let asked = futures_util::future::join_all((0..50).map(|_| source.read_for_unknown_key())).await;
        assert!(asked.iter().all(|read| *read), "all wait for the one that is under way");
        assert_eq!(*reads.borrow(), 1);
        for _ in 0..50 {
            assert!(!source.read_for_unknown_key().await, "nothing new so soon");
        }
        source.asking.lock().unwrap().since = None; // as after a long time
        assert!(source.read_for_unknown_key().await);
        reader.abort();
    }
}
