//! What a token says. Pure.

use serde_json::{Map, Value};

use crate::security::{
    principal::{GRANTS_MAX, Grant, Grants},
    settings::IssuerSettings,
};

/// Longest name that a token may give its bearer, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// The claims of a token.
#[derive(Debug, Clone)]
pub(crate) struct Claims(pub(crate) Map<String, Value>);

impl Claims {
    /// A claim that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A moment, in seconds since 1970. `Ok(None)`: it is not there; `Err`: it is no moment.
    pub(crate) fn seconds(&self, name: &str) -> Result<Option<u64>, ()> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match (value.as_u64(), value.as_f64()) {
                (Some(seconds), _) => Ok(Some(seconds)),
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
                (None, Some(seconds)) if seconds >= 0.0 => Ok(Some(seconds as u64)),
                _ => Err(()),
            },
        }
    }

    /// True when `aud`, a text or a list of them, names one of these.
    pub(crate) fn is_for(&self, audiences: &[String]) -> bool {
        let is_ours = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|ours| ours == text));
        match self.0.get("aud") {
            Some(Value::Array(values)) => values.iter().any(is_ours),
            Some(value) => is_ours(value),
            None => false,
        }
    }

    /// Who the bearer is, as the issuer calls them.
    pub(crate) fn name(&self, settings: &IssuerSettings) -> Option<&str> {
        self.text(&settings.principal_claim).filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
    }

    /// What the bearer may do. Values that mean nothing here are left out: issuers have roles for others too.
    pub(crate) fn grants(&self, settings: &IssuerSettings) -> Grants {
        let mut steps = settings.roles_claim.split('.');
        let claim = steps.next().and_then(|first| self.0.get(first));
        let claim = steps.fold(claim, |value, step| value?.get(step));
        let values: Vec<&str> = match claim {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => text.split_whitespace().collect(),
            _ => Vec::new(),
        };
        let mut grants: Vec<Grant> = settings.default_roles.iter().cloned().collect();
        for value in values {
            match settings.roles.iter().find(|mapping| mapping.value == value) {
                Some(mapping) => grants.extend(mapping.roles.iter().cloned()),
                None => grants.extend(value.parse::<Grant>()),
            }
        }
        grants.sort();
        grants.dedup();
        // The strongest and widest first: those are never the ones to be left out.
        grants.sort_by_key(|grant| (grant.namespace.is_some(), std::cmp::Reverse(grant.role)));
        grants.truncate(GRANTS_MAX);
        Grants::new(grants).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::security::settings::RoleMapping;

    fn claims(value: &Value) -> Claims {
        Claims(value.as_object().unwrap().clone())
    }

    #[test]
    fn roles_are_read_from_where_the_issuer_puts_them() {
        let mut settings = IssuerSettings { roles_claim: "realm.roles".into(), ..IssuerSettings::default() };
        settings.roles =
            vec![RoleMapping { value: "ops".into(), roles: serde_json::from_value(json!(["operator@a"])).unwrap() }];
        for (claim, expected) in [
            (json!({"realm": {"roles": ["viewer", "ops", "mail-user", 7]}}), "viewer operator@a"),
            (json!({"realm": {"roles": "admin@b viewer"}}), "viewer admin@b"),
            (json!({"realm": {"roles": {}}}), ""),
            (json!({"roles": ["admin"]}), ""),
        ] {
            assert_eq!(claims(&claim).grants(&settings).to_string(), expected, "{claim}");
        }
        settings.default_roles = serde_json::from_value(json!(["viewer"])).unwrap();
        assert_eq!(claims(&json!({})).grants(&settings).to_string(), "viewer");
    }

    #[test]
    fn moments_and_audiences_have_two_forms_each() {
        let token = claims(&json!({"a": 7, "b": 7.9, "c": -1, "d": "7", "aud": ["x", "mcp"]}));
        assert_eq!((token.seconds("a"), token.seconds("b")), (Ok(Some(7)), Ok(Some(7))));
        assert_eq!((token.seconds("c"), token.seconds("d"), token.seconds("e")), (Err(()), Err(()), Ok(None)));
        assert!(token.is_for(&["mcp".into()]) && !token.is_for(&["other".into()]));
        assert!(claims(&json!({"aud": "mcp"})).is_for(&["mcp".into()]));
        assert!(!claims(&json!({})).is_for(&["mcp".into()]) && !claims(&json!({"aud": 1})).is_for(&["1".into()]));
    }
}
