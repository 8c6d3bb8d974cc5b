//! The keys of an issuer. Pure.
//!
//! A key knows its own algorithms. A token's header only chooses among them, so a public key can never be taken for the
//! secret of an HMAC.

use std::str::FromStr;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// Most keys of one issuer.
const KEYS_MAX: usize = 100;

/// Smallest RSA modulus, in bits.
const RSA_BITS_MIN: usize = 2048;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The text is not a PEM public key, RSA, EC or Ed25519.
    #[error("the file is not a public key in PEM form (RSA, EC P-256 or P-384, Ed25519)")]
    Pem,
    /// The text is not a key set.
    #[error("this is not a JSON Web Key Set")]
    Set(#[source] serde_json::Error),
    /// The set has no `keys`, or too many.
    #[error("the set has {count} keys, 1 to {KEYS_MAX} are taken")]
    Count {
        /// How many it has.
        count: usize,
    },
    /// None of the keys can be used to check a signature.
    #[error("none of the {count} keys of the set can be used to check signatures")]
    Unusable {
        /// How many there are.
        count: usize,
    },
}

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Its name, when it has one.
    pub(crate) id: Option<String>,
    /// What it checks.
    pub(crate) algorithms: Vec<Algorithm>,
    /// The key itself.
    pub(crate) decoding: DecodingKey,
}

/// All keys of an issuer at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

/// Whether a set may hold shared secrets: one that came over a network may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// They are used.
    Taken,
    /// They are left out.
    LeftOut,
}

impl KeySet {
    /// The set of a shared secret.
    pub(crate) fn of_secret(secret: &str) -> Self {
        let algorithms = AlgorithmFamily::Hmac.algorithms().to_vec();
        Self { keys: vec![Key { id: None, algorithms, decoding: DecodingKey::from_secret(secret.as_bytes()) }] }
    }

    /// The set of one public key in PEM form.
    ///
    /// # Errors
    /// [`KeyError::Pem`].
    pub(crate) fn of_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let readers = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
        let decoding = readers.into_iter().find_map(|read| read(pem).ok()).ok_or(KeyError::Pem)?;
        Ok(Self { keys: vec![Key { id: None, algorithms: decoding.family().algorithms().to_vec(), decoding }] })
    }

    /// A JSON Web Key Set. Keys for other purposes and of unknown kinds are left out.
    ///
    /// # Errors
    /// [`KeyError::Set`], [`KeyError::Count`], [`KeyError::Unusable`].
    pub(crate) fn of_json(json: &[u8], secrets: Secrets) -> Result<Self, KeyError> {
        let document: Value = serde_json::from_slice(json).map_err(KeyError::Set)?;
        let listed = document["keys"].as_array().map_or(&[][..], Vec::as_slice);
        if !(1..=KEYS_MAX).contains(&listed.len()) {
            return Err(KeyError::Count { count: listed.len() });
        }
        let jwks = listed.iter().filter_map(|jwk| serde_json::from_value(jwk.clone()).ok());
        let keys: Vec<Key> = jwks.filter_map(|jwk: Jwk| key(&jwk, secrets)).collect();
        if keys.is_empty() { Err(KeyError::Unusable { count: listed.len() }) } else { Ok(Self { keys }) }
    }

    /// The same set, with those algorithms only. Keys without one are left out.
    pub(crate) fn limited_to(mut self, algorithms: &[Algorithm]) -> Self {
        if !algorithms.is_empty() {
            for key in &mut self.keys {
                key.algorithms.retain(|algorithm| algorithms.contains(algorithm));
            }
            self.keys.retain(|key| !key.algorithms.is_empty());
        }
        self
    }

    /// The key that a token names; the only one when it names none. `None`: the set has no such key.
    pub(crate) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.keys.as_slice()) {
            // A single key without a name checks whatever comes.
            (_, [key]) if key.id.is_none() => Some(key),
            (None, [key]) => Some(key),
            (None, _) => None,
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
        }
    }
}

fn key(jwk: &Jwk, secrets: Secrets) -> Option<Key> {
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    let family = decoding.family();
    let fitting: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) if secrets == Secrets::LeftOut => return None,
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::RSA(rsa) if rsa.n.len() * 6 < RSA_BITS_MIN => return None,
        _ => family.algorithms(),
    };
    let named = common.key_algorithm.map(|algorithm| Algorithm::from_str(&algorithm.to_string()).ok());
    let algorithms: Vec<Algorithm> = match named {
        None => fitting.to_vec(),
        Some(named) => fitting.iter().copied().filter(|algorithm| Some(*algorithm) == named).collect(),
    };
    (!algorithms.is_empty()).then(|| Key { id: common.key_id.clone(), algorithms, decoding })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    fn set(keys: Value, secrets: Secrets) -> Result<KeySet, KeyError> {
        KeySet::of_json(json!({ "keys": keys }).to_string().as_bytes(), secrets)
    }

    #[test]
    fn keys_that_cannot_check_signatures_are_left_out() {
        let ec = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": "a"});
        let with = |name: &str, value: Value| {
            let mut key = ec.clone();
            key[name] = value;
            key
        };
        let short = json!({"kty": "RSA", "n": "AQAB".repeat(20), "e": "AQAB"});
        let unusable = [
            with("use", json!("enc")),
            with("alg", json!("RS256")),
            with("key_ops", json!(["sign"])),
            with("kty", json!("new")),
            short,
            json!({"kty": "oct", "k": "c2VjcmV0"}),
        ];
        for key in &unusable {
            assert!(matches!(set(json!([key]), Secrets::LeftOut), Err(KeyError::Unusable { count: 1 })), "{key}");
        }
        let mut mixed = unusable.to_vec();
        mixed.push(ec);
        let set = set(mixed.into(), Secrets::LeftOut).unwrap();
        assert_eq!(set.find(Some("a")).unwrap().algorithms, [Algorithm::ES256]);
        assert!(matches!(KeySet::of_json(b"{}", Secrets::Taken), Err(KeyError::Count { count: 0 })));
        assert!(matches!(KeySet::of_json(b"<html>", Secrets::Taken), Err(KeyError::Set(_))));
    }

    #[test]
    fn a_key_is_found_by_its_name_or_by_being_the_only_one() {
        let one = json!([{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]);
        let two = json!([{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "b"}]);
        let (one, two) = (set(one, Secrets::Taken).unwrap(), set(two, Secrets::Taken).unwrap());
        assert!(one.find(None).is_some() && one.find(Some("a")).is_some() && one.find(Some("b")).is_none());
        assert!(two.find(None).is_none() && two.find(Some("b")).is_some());
        assert!(KeySet::of_secret("s").find(Some("whatever")).is_some());
        assert!(one.limited_to(&[Algorithm::RS256]).find(None).is_none());
    }
}
