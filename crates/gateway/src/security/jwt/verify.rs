//! Whether a token holds. Pure: keys and the time are arguments.
//!
//! The order matters: nothing a token says counts before its signature does, except for which issuer and which key to
//! ask. Source: RFC 8725, "JSON Web Token Best Current Practices".

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{claims::Claims, keyset::KeySet};
use crate::security::{
    principal::{Principal, Proof},
    settings::IssuerSettings,
};

/// Longest token, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is larger than [`TOKEN_BYTES_MAX`].
    #[error("the token has {len} bytes, the limit is {TOKEN_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        len: usize,
    },
    /// It is not three parts of base64url with JSON in the first two.
    #[error("the token is not a JWT")]
    Malformed,
    /// Its algorithm is `none`, in whatever case.
    #[error("the token is not signed: its algorithm is `none`")]
    Unsigned,
    /// Its algorithm is none that we know, or none that its key has.
    #[error("the token's algorithm `{name}` is not one of its key")]
    Algorithm {
        /// Its name.
        name: String,
    },
    /// It needs something that we do not know (`crit`).
    #[error("the token needs an extension that is not supported")]
    Critical,
    /// It names no issuer, or one that we do not trust.
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// Its issuer has no such key.
    #[error("the token's key is not one of its issuer's")]
    Key {
        /// Position of the issuer in the settings.
        issuer: usize,
    },
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim is missing or has the wrong form.
    #[error("the token's claim `{name}` is missing or malformed")]
    Claim {
        /// Its name.
        name: String,
    },
    /// It held until a time that has passed.
    #[error("the token has expired")]
    Expired,
    /// It holds from a time on that has not come.
    #[error("the token is not valid yet")]
    Early,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
}

impl Refused {
    /// The name of the reason, for programs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "TOKEN_TOO_LARGE",
            Self::Malformed => "TOKEN_MALFORMED",
            Self::Unsigned => "TOKEN_UNSIGNED",
            Self::Algorithm { .. } => "TOKEN_ALGORITHM",
            Self::Critical => "TOKEN_CRITICAL",
            Self::Issuer => "TOKEN_ISSUER",
            Self::Key { .. } => "TOKEN_KEY_UNKNOWN",
            Self::Signature => "TOKEN_SIGNATURE",
            Self::Claim { .. } => "TOKEN_CLAIM",
            Self::Expired => "TOKEN_EXPIRED",
            Self::Early => "TOKEN_NOT_YET_VALID",
            Self::Audience => "TOKEN_AUDIENCE",
        }
    }
}

/// An issuer and its keys at one time.
#[derive(Debug)]
pub(crate) struct Issuer<'a> {
    /// What it may say.
    pub(crate) settings: &'a IssuerSettings,
    /// What it signs with.
    pub(crate) keys: Arc<KeySet>,
}

/// A token that holds.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    /// Who bears it.
    pub(crate) principal: Principal,
    /// When it ends, since 1970, our tolerance included.
    pub(crate) until: Duration,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Checks a token at `now`, counted from 1970.
///
/// # Errors
/// Why it is refused. [`Refused::Key`] may be another answer once the issuer's keys have been read again.
pub(crate) fn verify(token: &str, issuers: &[Issuer<'_>], now: Duration) -> Result<Verified, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::TooLarge { len: token.len() });
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
    let (header, payload) =
        message.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(Refused::Malformed)?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refused::Malformed)?;
    if header.alg.eq_ignore_ascii_case("none") {
        return Err(Refused::Unsigned);
    }
    let wrong_algorithm = || Refused::Algorithm { name: header.alg.chars().take(16).collect() };
    let algorithm: Algorithm = header.alg.parse().map_err(|_| wrong_algorithm())?;
    if header.crit.is_some() {
        return Err(Refused::Critical);
    }
    let claims: Map<String, Value> = serde_json::from_slice(&decode(payload)?).map_err(|_| Refused::Malformed)?;
    let claims = Claims(claims);
    let position = issuers.iter().position(|issuer| claims.text("iss") == Some(issuer.settings.issuer.as_str()));
    let (index, issuer) = position.map(|index| (index, &issuers[index])).ok_or(Refused::Issuer)?;
    let key = issuer.keys.find(header.kid.as_deref()).ok_or(Refused::Key { issuer: index })?;
    if !key.algorithms.contains(&algorithm) {
        return Err(wrong_algorithm());
    }
    match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, algorithm) {
        Ok(true) => accept(&claims, issuer.settings, now),
        Ok(false) | Err(_) => Err(Refused::Signature),
    }
}

/// What the claims of a token say whose signature is right.
fn accept(claims: &Claims, settings: &IssuerSettings, now: Duration) -> Result<Verified, Refused> {
    let malformed = |name: &str| Refused::Claim { name: name.to_owned() };
    let seconds = |name: &'static str| claims.seconds(name).map_err(|()| malformed(name));
    let expires = Duration::from_secs(seconds("exp")?.ok_or_else(|| malformed("exp"))?);
    let until = expires.saturating_add(settings.clock_skew);
    if until <= now {
        return Err(Refused::Expired);
    }
    for name in ["nbf", "iat"] {
        let from = Duration::from_secs(seconds(name)?.unwrap_or(0));
        if from > now.saturating_add(settings.clock_skew) {
            return Err(Refused::Early);
        }
    }
    if !claims.is_for(&settings.audiences) {
        return Err(Refused::Audience);
    }
    let name = claims.name(settings).ok_or_else(|| malformed(&settings.principal_claim))?;
    let name = format!("{}#{name}", settings.issuer).into();
    Ok(Verified { principal: Principal { name, proof: Proof::Token, grants: claims.grants(settings) }, until })
}

fn decode(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed)
}

#[cfg(test)]
mod tests;
