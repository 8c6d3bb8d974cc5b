//! The `[gateway.security]` section.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use super::principal::Grants;

/// Fewest characters of a secret that people choose: what is shorter can be guessed.
const SECRET_CHARS_MIN: usize = 32;

/// Most issuers of tokens.
const ISSUERS_MAX: usize = 32;

/// Longest difference between our clock and an issuer's that may be allowed for.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(600);

/// Who may call, and how that is proved.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecuritySettings {
    /// True: a caller without credentials may do everything. For development only; `mcp dev` sets it.
    pub anonymous: bool,
    /// A key with every right, from which the first API keys are made: at least 32 characters. Empty: there is none.
    pub bootstrap_key: Secret,
    /// True: `/metrics` needs no credentials, for a scraper that has none.
    pub open_metrics: bool,
    /// TLS on the gateway's port.
    pub tls: TlsSettings,
    /// Who may issue tokens (JWT).
    pub jwt: Vec<IssuerSettings>,
}

/// TLS on the gateway's port; off while `certificate` is not set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file with the server's certificate and the chain below the root.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub key: Option<PathBuf>,
    /// PEM file with the roots that callers' certificates must come from. Without it none are asked for.
    pub client_ca: Option<PathBuf>,
    /// PEM file with lists of revoked certificates (CRL), one of each authority that issues callers' certificates. With it,
    /// a certificate of an authority without a list is refused, and so are all when the list has run out.
    pub client_crl: Option<PathBuf>,
    /// True: a caller without a certificate is turned away in the handshake. False: it may use another credential.
    pub client_required: bool,
    /// What callers with a certificate may do, by the name in it.
    pub clients: Vec<ClientSettings>,
    /// How often the files are looked at. New ones take effect for new connections; those that are there stay.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
}

/// What the caller with a certificate may do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientSettings {
    /// The name in the certificate: its URI, else its DNS name, else its e-mail address, else its common name.
    pub name: String,
    /// Each `viewer`, `operator` or `admin`, alone or with `@namespace`.
    pub roles: Grants,
}

/// Someone who issues tokens. Exactly one of `secret`, `key_file`, `jwks_file` and `jwks_url` says how they are checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerSettings {
    /// What `iss` must be.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// Algorithms that are accepted, for instance `RS256`. None: all that fit the key.
    pub algorithms: Vec<String>,
    /// Shared secret, for HS256, HS384 and HS512: at least 32 characters.
    pub secret: Secret,
    /// PEM file with a public key: RSA, EC or Ed25519.
    pub key_file: Option<PathBuf>,
    /// File with a JSON Web Key Set.
    pub jwks_file: Option<PathBuf>,
    /// URL of a JSON Web Key Set.
    pub jwks_url: Option<String>,
    /// PEM file with the roots for an `https` URL. Without it, those of this machine.
    pub jwks_ca: Option<PathBuf>,
    /// How often the keys are read again.
    #[serde(with = "humantime_serde")]
    pub refresh: Duration,
    /// Shortest time between two reads that an unknown key id causes.
    #[serde(with = "humantime_serde")]
    pub refetch_min: Duration,
    /// How far the issuer's clock may be from ours, at most 10 min.
    #[serde(with = "humantime_serde")]
    pub clock_skew: Duration,
    /// The claim that names the caller.
    pub principal_claim: String,
    /// The claim that holds roles, steps separated by `.`: a list, or text with spaces in between.
    pub roles_claim: String,
    /// What values of that claim mean, besides `viewer`, `operator` and `admin`, alone or with `@namespace`.
    pub roles: Vec<RoleMapping>,
    /// What everyone with a token of this issuer may do.
    pub default_roles: Grants,
}

/// What a value of the roles claim means.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleMapping {
    /// The value.
    pub value: String,
    /// Each `viewer`, `operator` or `admin`, alone or with `@namespace`.
    pub roles: Grants,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_crl: None,
            client_required: false,
            clients: Vec::new(),
            reload_interval: Duration::from_secs(5),
        }
    }
}

impl Default for IssuerSettings {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audiences: Vec::new(),
            algorithms: Vec::new(),
            secret: Secret::default(),
            key_file: None,
            jwks_file: None,
            jwks_url: None,
            jwks_ca: None,
            refresh: Duration::from_secs(300),
            refetch_min: Duration::from_secs(10),
            clock_skew: Duration::from_secs(30),
            principal_claim: "sub".to_owned(),
            roles_claim: "roles".to_owned(),
            roles: Vec::new(),
            default_roles: Grants::default(),
        }
    }
}

impl SecuritySettings {
    /// The first wrong key below `gateway`, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if !self.bootstrap_key.is_empty() {
            check_secret("security.bootstrap_key", &self.bootstrap_key)?;
        }
        self.tls.check()?;
        if self.jwt.len() > ISSUERS_MAX {
            return Err(("security.jwt", format!("has {} issuers, at most {ISSUERS_MAX} may be", self.jwt.len())));
        }
        for (index, issuer) in self.jwt.iter().enumerate() {
            issuer.check().map_err(|reason| ("security.jwt", format!("issuer {index}: {reason}")))?;
            if self.jwt[..index].iter().any(|other| other.issuer == issuer.issuer) {
                return Err(("security.jwt", format!("issuer {index}: `{}` is there twice", issuer.issuer)));
            }
        }
        Ok(())
    }
}

impl TlsSettings {
    /// True when the port speaks TLS.
    pub(crate) fn is_on(&self) -> bool {
        self.certificate.is_some()
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(("security.tls.key", "and `security.tls.certificate` must be set together".into()));
        }
        if self.client_ca.is_some() && !self.is_on() {
            return Err(("security.tls.client_ca", "needs `security.tls.certificate`".into()));
        }
        if self.client_crl.is_some() && self.client_ca.is_none() {
            return Err(("security.tls.client_crl", "needs `security.tls.client_ca`".into()));
        }
        if self.client_required && self.client_ca.is_none() {
            return Err(("security.tls.client_required", "needs `security.tls.client_ca`".into()));
        }
        if self.reload_interval.is_zero() {
            return Err(("security.tls.reload_interval", "must be longer than 0".into()));
        }
        Ok(())
    }
}

impl IssuerSettings {
    fn check(&self) -> Result<(), String> {
        if self.issuer.is_empty() {
            return Err("`issuer` must be set".into());
        }
        if self.audiences.is_empty() {
            return Err("`audiences` must name at least one: a token for somebody else would be taken".into());
        }
        let sources =
            [!self.secret.is_empty(), self.key_file.is_some(), self.jwks_file.is_some(), self.jwks_url.is_some()];
        if sources.iter().filter(|set| **set).count() != 1 {
            return Err("exactly one of `secret`, `key_file`, `jwks_file` and `jwks_url` must be set".into());
        }
        if !self.secret.is_empty() {
            check_secret("secret", &self.secret).map_err(|(key, reason)| format!("`{key}` {reason}"))?;
        }
        for name in &self.algorithms {
            if name.parse::<jsonwebtoken::Algorithm>().is_err() {
                return Err(format!("`algorithms`: `{name}` is none that we know"));
            }
        }
        if let Some(url) = &self.jwks_url {
            let uri: http::Uri = url.parse().map_err(|_| format!("`jwks_url`: `{url}` is not a URL"))?;
            if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
                return Err(format!("`jwks_url`: `{url}` is not `https://host/path`"));
            }
        }
        if self.refresh.is_zero() || self.refetch_min.is_zero() {
            return Err("`refresh` and `refetch_min` must be longer than 0".into());
        }
        if self.clock_skew > CLOCK_SKEW_MAX {
            return Err(format!("`clock_skew` is {:?}, must be at most {CLOCK_SKEW_MAX:?}", self.clock_skew));
        }
        Ok(())
    }
}

fn check_secret(key: &'static str, secret: &Secret) -> Result<(), (&'static str, String)> {
    let count = secret.expose().chars().count();
    if count < SECRET_CHARS_MIN {
        return Err((key, format!("has {count} characters, at least {SECRET_CHARS_MIN} are needed")));
    }
    Ok(())
}

/// Text that is read from settings and never shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// True when it is not set.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "<redacted>" }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> IssuerSettings {
        IssuerSettings {
            issuer: "https://id".into(),
            audiences: vec!["mcp".into()],
            secret: "s".repeat(32).into(),
            ..IssuerSettings::default()
        }
    }

    #[test]
    fn a_wrong_issuer_is_refused_with_what_is_wrong() {
        assert_eq!(issuer().check(), Ok(()));
        let change = |change: fn(&mut IssuerSettings)| {
            let mut issuer = issuer();
            change(&mut issuer);
            issuer.check().unwrap_err()
        };
        for (error, word) in [
            (change(|issuer| issuer.issuer.clear()), "`issuer`"),
            (change(|issuer| issuer.audiences.clear()), "audiences"),
            (change(|issuer| issuer.secret = "short".to_owned().into()), "at least 32"),
            (change(|issuer| issuer.key_file = Some("x".into())), "exactly one"),
            (change(|issuer| issuer.secret = Secret::default()), "exactly one"),
            (change(|issuer| issuer.algorithms = vec!["none".into()]), "`none`"),
            (change(|issuer| issuer.clock_skew = Duration::from_secs(601)), "clock_skew"),
        ] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn settings_that_need_each_other_are_set_together() {
        let mut settings = SecuritySettings::default();
        assert_eq!(settings.check(), Ok(()));
        settings.tls.certificate = Some("cert.pem".into());
        assert_eq!(settings.check().unwrap_err().0, "security.tls.key");
        settings.tls.key = Some("key.pem".into());
        settings.tls.client_required = true;
        assert_eq!(settings.check().unwrap_err().0, "security.tls.client_required");
        settings.tls.client_required = false;
        settings.tls.client_crl = Some("crl.pem".into());
        assert_eq!(settings.check().unwrap_err().0, "security.tls.client_crl");
        settings.tls.client_crl = None;
        settings.bootstrap_key = "short".to_owned().into();
        assert_eq!(settings.check().unwrap_err().0, "security.bootstrap_key");
        settings.bootstrap_key = Secret::default();
        settings.jwt = vec![issuer(), issuer()];
        assert!(settings.check().unwrap_err().1.contains("twice"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let settings = SecuritySettings { bootstrap_key: "x7".repeat(20).into(), ..SecuritySettings::default() };
        let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
        assert!(shown.contains("<redacted>") && !shown.contains("x7"), "{shown}");
    }
}
