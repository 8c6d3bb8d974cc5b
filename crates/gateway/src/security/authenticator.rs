//! Finds out who calls.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, header};
use mcp_proto::{Code, Error};

use super::{
    cache::TokenCache,
    jwt::{
        source::Source,
        verify::{self, Issuer, Refused},
    },
    keys::{
        record::{self, Hash},
        store::Keys,
    },
    principal::{Grants, Principal, Proof},
    settings::SecuritySettings,
};

/// The other header that an API key may come in.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Metadata of the error that says why, for programs.
pub(crate) const REASON: &str = "reason";

/// How the reasons begin for which a key of ours is refused.
const OURS: &str = "KEY_";

/// Knows who may prove what.
#[derive(Debug)]
pub(crate) struct Authenticator {
    /// Whoever comes without credentials, where that is allowed.
    anonymous: Option<Arc<Principal>>,
    /// Whoever is not known, on routes that are for everybody.
    nobody: Arc<Principal>,
    bootstrap: Option<(Hash, Arc<Principal>)>,
    keys: Arc<Keys>,
    issuers: Vec<Arc<Source>>,
    /// Those with a certificate that the settings name.
    clients: HashMap<String, Arc<Principal>>,
}

/// What a caller shows.
#[derive(Debug, PartialEq, Eq)]
enum Credential<'a> {
    None,
    /// A key or a token.
    Bearer(&'a str),
    /// Something that we do not know.
    Other,
}

impl Authenticator {
    /// One for these settings, keys and issuers.
    pub(crate) fn new(settings: &SecuritySettings, keys: Arc<Keys>, issuers: Vec<Arc<Source>>) -> Self {
        let bootstrap = (!settings.bootstrap_key.is_empty()).then(|| {
            let (name, grants) = ("bootstrap".into(), Grants::everything());
            let principal = Principal { name, proof: Proof::Bootstrap, grants };
            (Hash::of(settings.bootstrap_key.expose()), Arc::new(principal))
        });
        let clients = settings.tls.clients.iter();
        let clients = clients.map(|client| (client.name.clone(), certified(&client.name, client.roles.clone())));
        let anonymous = settings.anonymous.then(|| Arc::new(Principal::anonymous()));
        let nobody = Arc::new(Principal::nobody());
        Self { anonymous, nobody, bootstrap, keys, issuers, clients: clients.collect() }
    }

    /// The same as [`authenticate`](Self::authenticate) where everybody may come: who is not known is nobody. What they
    /// show may be for the service behind; only a key of ours must be right.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, for a wrong key of ours.
    pub(crate) async fn welcome(
        &self,
        headers: &HeaderMap,
        certificate: Option<&str>,
        cache: &TokenCache,
        now: Duration,
    ) -> Result<Arc<Principal>, Error> {
        let is_ours = |error: &Error| error.metadata().get(REASON).is_some_and(|reason| reason.starts_with(OURS));
        match self.authenticate(headers, certificate, cache, now).await {
            Err(error) if !is_ours(&error) => Ok(Arc::clone(&self.nobody)),
            outcome => outcome,
        }
    }

    /// Who calls, by the headers of the request and the name in the certificate at the other end. A key or a token
    /// counts more than a certificate. `now` is counted from 1970.
    ///
    /// A token under a key that its issuer did not have a moment ago makes us ask the issuer, and wait.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, with the reason in its metadata.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&str>,
        cache: &TokenCache,
        now: Duration,
    ) -> Result<Arc<Principal>, Error> {
        let credential = credential(headers)?;
        if let (Credential::Bearer(text), Some((hash, principal))) = (&credential, &self.bootstrap)
            && hash.is_of(text)
        {
            return Ok(Arc::clone(principal));
        }
        match (credential, certificate, &self.anonymous) {
            (Credential::Bearer(text), ..) if text.starts_with(record::PREFIX) => self.by_key(text, now),
            (Credential::Bearer(text), ..) if !self.issuers.is_empty() => self.by_token(text, cache, now).await,
            (Credential::None, Some(name), _) => Ok(self.by_certificate(name)),
            (_, _, Some(anonymous)) => Ok(Arc::clone(anonymous)),
            (Credential::None, ..) => Err(refused(
                "CREDENTIALS_MISSING",
                "the call carries no credentials: send an API key or a token as `authorization: Bearer …`",
            )),
            (Credential::Bearer(_) | Credential::Other, ..) => Err(refused(
                "CREDENTIALS_UNKNOWN",
                "the credentials are of no kind that is accepted here: send an API key as `authorization: Bearer mcp_…`",
            )),
        }
    }

    fn by_key(&self, text: &str, now: Duration) -> Result<Arc<Principal>, Error> {
        let known = record::id_of(text).and_then(|id| self.keys.get(id)).filter(|key| key.record.hash.is_of(text));
        let Some(key) = known else {
            return Err(refused("KEY_UNKNOWN", "the API key is unknown, or was revoked"));
        };
        if key.record.has_expired(now) {
            return Err(refused("KEY_EXPIRED", "the API key has expired: make another by `mcp key create`"));
        }
        Ok(Arc::clone(&key.principal))
    }

    fn by_certificate(&self, name: &str) -> Arc<Principal> {
        self.clients.get(name).cloned().unwrap_or_else(|| certified(name, Grants::default()))
    }

    async fn by_token(&self, token: &str, cache: &TokenCache, now: Duration) -> Result<Arc<Principal>, Error> {
        // Read before the keys: keys that change in between make the entry stale, not wrong.
        let version = self.version();
        if let Some(principal) = cache.get(token, version, now) {
            return Ok(principal);
        }
        let verified = match self.verify(token, now) {
            Err(Refused::Key { issuer }) if self.issuers[issuer].read_for_unknown_key().await => {
                self.verify(token, now)
            }
            verified => verified,
        };
        let verified = verified.map_err(|why| refused(why.reason(), why.to_string()))?;
        let principal = Arc::new(verified.principal);
        cache.put(token, Arc::clone(&principal), verified.until, version);
        Ok(principal)
    }

    fn verify(&self, token: &str, now: Duration) -> Result<verify::Verified, Refused> {
        let issuers: Vec<Issuer<'_>> =
            self.issuers.iter().map(|source| Issuer { settings: &source.settings, keys: source.keys() }).collect();
        verify::verify(token, &issuers, now)
    }

    /// Changes whenever the keys of an issuer do.
    fn version(&self) -> u64 {
        self.issuers.iter().map(|source| source.version()).sum()
    }
}

/// Whoever has a certificate with this name.
fn certified(name: &str, grants: Grants) -> Arc<Principal> {
    Arc::new(Principal { name: name.into(), proof: Proof::Certificate, grants })
}

fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Error> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter().chain(headers.get_all(API_KEY));
    let Some(first) = shown.next() else {
        return Ok(Credential::None);
    };
    if shown.next().is_some() {
        return Err(refused("CREDENTIALS_AMBIGUOUS", "the call carries more than one credential"));
    }
    let Ok(text) = first.to_str() else {
        return Ok(Credential::Other);
    };
    if headers.contains_key(API_KEY) {
        return Ok(Credential::Bearer(text.trim()));
    }
    Ok(match text.trim().split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Credential::Bearer(rest.trim()),
        _ => Credential::Other,
    })
}

/// `UNAUTHENTICATED` with a reason.
fn refused(reason: &str, message: impl Into<String>) -> Error {
    Error::new(Code::Unauthenticated, message).with_metadata(REASON, reason)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::security::settings::ClientSettings;

    const BOOTSTRAP: &str = "a bootstrap key of more than 32 characters";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn authenticator(anonymous: bool) -> Authenticator {
        let mut settings =
            SecuritySettings { anonymous, bootstrap_key: BOOTSTRAP.to_owned().into(), ..SecuritySettings::default() };
        let roles = serde_json::from_str("[\"operator\"]").unwrap();
        settings.tls.clients = vec![ClientSettings { name: "spiffe://mesh/a".into(), roles }];
        Authenticator::new(&settings, Arc::new(Keys::new()), Vec::new())
    }

    async fn outcome(
        authenticator: &Authenticator,
        pairs: &[(&'static str, &str)],
        certificate: Option<&str>,
    ) -> String {
        let (headers, cache) = (headers(pairs), TokenCache::default());
        match authenticator.authenticate(&headers, certificate, &cache, Duration::ZERO).await {
            Ok(principal) => format!("{} [{}]", principal.name, principal.grants),
            Err(error) => error.metadata()[REASON].clone(),
        }
    }

    #[tokio::test]
    async fn callers_are_known_by_what_they_show() {
        let authenticator = authenticator(false);
        let bearer = format!("Bearer {BOOTSTRAP}");
        for (pairs, certificate, expected) in [
            (vec![], None, "CREDENTIALS_MISSING"),
            (vec![("authorization", bearer.as_str())], None, "bootstrap [admin]"),
            (vec![("authorization", &bearer.replace("Bearer", "bearer "))], None, "bootstrap [admin]"),
            (vec![("x-api-key", BOOTSTRAP)], None, "bootstrap [admin]"),
            (vec![("authorization", bearer.as_str()), ("x-api-key", BOOTSTRAP)], None, "CREDENTIALS_AMBIGUOUS"),
            (vec![("authorization", "Basic YTpi")], None, "CREDENTIALS_UNKNOWN"),
            (vec![("authorization", "Bearer x")], None, "CREDENTIALS_UNKNOWN"),
            (vec![("authorization", "Bearer mcp_0000000000000000_x")], None, "KEY_UNKNOWN"),
            (vec![], Some("spiffe://mesh/a"), "spiffe://mesh/a [operator]"),
            (vec![], Some("spiffe://mesh/b"), "spiffe://mesh/b []"),
            (vec![("authorization", bearer.as_str())], Some("spiffe://mesh/b"), "bootstrap [admin]"),
            (vec![("authorization", "Bearer mcp_x")], Some("spiffe://mesh/a"), "KEY_UNKNOWN"),
        ] {
            assert_eq!(outcome(&authenticator, &pairs, certificate).await, expected, "{pairs:?}");
        }
    }

    #[tokio::test]
    async fn where_everybody_may_come_only_a_key_of_ours_must_be_right() {
        let (authenticator, cache) = (authenticator(false), TokenCache::default());
        let bearer = format!("Bearer {BOOTSTRAP}");
        for (pairs, expected) in [
            (vec![], "nobody"),
            (vec![("authorization", "Basic YTpi")], "nobody"),
            (vec![("authorization", "Bearer for-the-service-behind")], "nobody"),
            (vec![("authorization", bearer.as_str())], "bootstrap"),
            (vec![("authorization", "Bearer mcp_0000000000000000_x")], "KEY_UNKNOWN"),
        ] {
            let outcome = authenticator.welcome(&headers(&pairs), None, &cache, Duration::ZERO).await;
            let shown = outcome.map_or_else(|error| error.metadata()[REASON].clone(), |who| who.name.to_string());
            assert_eq!(shown, expected, "{pairs:?}");
        }
    }

    #[tokio::test]
    async fn in_development_only_a_key_of_ours_must_be_right() {
        let authenticator = authenticator(true);
        for (pairs, expected) in [
            (vec![], "anonymous [admin]"),
            (vec![("authorization", "Basic YTpi")], "anonymous [admin]"),
            (vec![("authorization", "Bearer for-the-service-behind")], "anonymous [admin]"),
            (vec![("authorization", "Bearer mcp_0000000000000000_x")], "KEY_UNKNOWN"),
        ] {
            assert_eq!(outcome(&authenticator, &pairs, None).await, expected, "{pairs:?}");
        }
    }
}
