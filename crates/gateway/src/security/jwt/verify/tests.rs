use jsonwebtoken::{EncodingKey, Header as TokenHeader, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::json;

use super::*;
use crate::security::jwt::keyset::Secrets;

const NOW: u64 = 1_700_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn settings() -> IssuerSettings {
    IssuerSettings { issuer: "https://id".into(), audiences: vec!["mcp".into()], ..IssuerSettings::default() }
}

fn claims() -> Value {
    json!({"iss": "https://id", "aud": "mcp", "sub": "ana", "exp": NOW + 60, "roles": ["operator@a"]})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn token(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&TokenHeader::new(algorithm), claims, key).unwrap()
}

fn hs(claims: &Value) -> String {
    token(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), claims)
}

/// A token whose header is as given, signed by the secret whatever the header says.
fn crafted(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn check(token: &str, settings: &IssuerSettings, keys: KeySet) -> Result<Verified, Refused> {
    let issuers = [Issuer { settings, keys: Arc::new(keys) }];
    verify(token, &issuers, Duration::from_secs(NOW))
}

fn reason(token: &str) -> &'static str {
    check(token, &settings(), KeySet::of_secret(SECRET)).map_or_else(|refused| refused.reason(), |_| "accepted")
}

#[test]
fn a_good_token_names_its_bearer_and_what_they_may_do() {
    let verified = check(&hs(&claims()), &settings(), KeySet::of_secret(SECRET)).unwrap();
    assert_eq!(&*verified.principal.name, "https://id#ana");
    assert_eq!(verified.principal.grants.to_string(), "operator@a");
    assert_eq!(verified.until, Duration::from_secs(NOW + 60 + 30));
}

#[test]
fn every_family_of_algorithms_is_checked_with_its_own_key() {
    let pem = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let rsa = pem(&PKCS_RSA_SHA256);
    let (p256, p384, ed) = (pem(&PKCS_ECDSA_P256_SHA256), pem(&PKCS_ECDSA_P384_SHA384), pem(&PKCS_ED25519));
    let keys: Vec<(Algorithm, EncodingKey, KeySet)> = vec![
        (Algorithm::RS256, EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap(), &rsa),
        (Algorithm::PS512, EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap(), &rsa),
        (Algorithm::ES256, EncodingKey::from_ec_pem(p256.serialize_pem().as_bytes()).unwrap(), &p256),
        (Algorithm::ES384, EncodingKey::from_ec_pem(p384.serialize_pem().as_bytes()).unwrap(), &p384),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap(), &ed),
    ]
    .into_iter()
    .map(|(algorithm, key, pair)| (algorithm, key, KeySet::of_pem(pair.public_key_pem().as_bytes()).unwrap()))
    .collect();
    for (index, (algorithm, key, set)) in keys.iter().enumerate() {
        let good = token(*algorithm, key, &claims());
        assert!(check(&good, &settings(), set.clone()).is_ok(), "{algorithm:?}");
        let (start, end) = good.split_at(good.len() - 8);
        let tampered = format!("{start}{}", end.chars().rev().collect::<String>());
        assert_eq!(check(&tampered, &settings(), set.clone()).unwrap_err(), Refused::Signature, "{algorithm:?}");
        let (_, _, other) = &keys[(index + 2) % keys.len()];
        let refused = check(&good, &settings(), other.clone()).unwrap_err();
        assert!(matches!(refused, Refused::Algorithm { .. } | Refused::Signature), "{algorithm:?}: {refused}");
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let pem = pair.public_key_pem();
    let header = json!({"alg": "HS256", "typ": "JWT"});
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), pair.public_key_raw()] {
        let forged = crafted(&header, &claims(), secret);
        let refused = check(&forged, &settings(), KeySet::of_pem(pem.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(refused, Refused::Algorithm { name: "HS256".into() });
    }
}

#[test]
fn bad_tokens_are_refused_with_their_reason() {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |name: &str| format!("{}.{}.", part(&json!({"alg": name})), part(&claims()));
    let good = hs(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let swapped = format!("{}.{}.{signature}", head.split_once('.').unwrap().0, part(&with("sub", json!("eva"))));
    for (token, expected) in [
        (good.clone(), "accepted"),
        (String::new(), "TOKEN_MALFORMED"),
        ("a.b".into(), "TOKEN_MALFORMED"),
        ("a.b.c.d".into(), "TOKEN_MALFORMED"),
        ("....".into(), "TOKEN_MALFORMED"),
        (format!("{good}."), "TOKEN_MALFORMED"),
        (format!("{good}=="), "TOKEN_SIGNATURE"),
        (format!("{head}."), "TOKEN_SIGNATURE"),
        (format!("{head}.{}", "A".repeat(43)), "TOKEN_SIGNATURE"),
        (swapped, "TOKEN_SIGNATURE"),
        (unsigned("none"), "TOKEN_UNSIGNED"),
        (unsigned("NonE"), "TOKEN_UNSIGNED"),
        (unsigned("HS257"), "TOKEN_ALGORITHM"),
        (unsigned("RS256"), "TOKEN_ALGORITHM"),
        (crafted(&json!({"alg": "HS256", "crit": ["x"]}), &claims(), SECRET.as_bytes()), "TOKEN_CRITICAL"),
        (crafted(&json!({"alg": "HS256"}), &claims(), b"another secret of 32 characters."), "TOKEN_SIGNATURE"),
        (crafted(&json!({"alg": "HS256"}), &claims(), b""), "TOKEN_SIGNATURE"),
        (hs(&with("iss", json!("https://evil"))), "TOKEN_ISSUER"),
        (hs(&with("iss", Value::Null)), "TOKEN_ISSUER"),
        (hs(&with("aud", json!("other"))), "TOKEN_AUDIENCE"),
        (hs(&with("aud", Value::Null)), "TOKEN_AUDIENCE"),
        (hs(&with("exp", json!(NOW - 31))), "TOKEN_EXPIRED"),
        (hs(&with("exp", json!(NOW - 29))), "accepted"),
        (hs(&with("exp", Value::Null)), "TOKEN_CLAIM"),
        (hs(&with("exp", json!("never"))), "TOKEN_CLAIM"),
        (hs(&with("exp", json!(-5))), "TOKEN_CLAIM"),
        (hs(&with("exp", json!(u64::MAX))), "accepted"),
        (hs(&with("nbf", json!(NOW + 31))), "TOKEN_NOT_YET_VALID"),
        (hs(&with("nbf", json!(NOW + 29))), "accepted"),
        (hs(&with("iat", json!(NOW + 3_600))), "TOKEN_NOT_YET_VALID"),
        (hs(&with("nbf", json!("soon"))), "TOKEN_CLAIM"),
        (hs(&with("sub", Value::Null)), "TOKEN_CLAIM"),
        (hs(&with("sub", json!(""))), "TOKEN_CLAIM"),
        (hs(&with("pad", json!("x".repeat(8_192)))), "TOKEN_TOO_LARGE"),
    ] {
        assert_eq!(reason(&token), expected, "{token:.120}");
    }
}

#[test]
fn a_key_that_the_set_lacks_is_told_apart() {
    let set = json!({"keys": [{"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "new", "alg": "HS256"}]});
    let set = || KeySet::of_json(set.to_string().as_bytes(), Secrets::Taken).unwrap();
    let signed = |id: &str| crafted(&json!({"alg": "HS256", "kid": id}), &claims(), SECRET.as_bytes());
    assert!(check(&signed("new"), &settings(), set()).is_ok());
    assert_eq!(check(&signed("old"), &settings(), set()).unwrap_err(), Refused::Key { issuer: 0 });
    assert_eq!(check(&signed("new"), &settings(), KeySet::default()).unwrap_err(), Refused::Key { issuer: 0 });
}

#[test]
fn an_issuer_speaks_only_for_itself() {
    let other = IssuerSettings { issuer: "https://other".into(), ..settings() };
    let ours = settings();
    let issuers = [
        Issuer { settings: &ours, keys: Arc::new(KeySet::of_secret(SECRET)) },
        Issuer { settings: &other, keys: Arc::new(KeySet::of_secret("another secret of 32 characters.")) },
    ];
    let forged = hs(&with("iss", json!("https://other")));
    assert_eq!(verify(&forged, &issuers, Duration::from_secs(NOW)).unwrap_err(), Refused::Signature);
}
