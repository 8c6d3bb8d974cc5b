//! `mcp key`: API keys.

use std::{str::FromStr, time::Duration};

use clap::{Args, Subcommand};
use mcp_proto::gateway::v1::{Grant, Role};

use super::{help, parse::duration};

/// What `mcp key` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Key {
    /// Make a key and print it, this once.
    #[command(after_help = help::key::CREATE)]
    Create(Create),
    /// List the keys, without their secrets.
    #[command(after_help = help::key::LIST)]
    List,
    /// End a key.
    #[command(after_help = help::key::REVOKE)]
    Revoke {
        /// Id of the key.
        id: String,
    },
}

impl Key {
    /// The command's name, for its span.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "key create",
            Self::List => "key list",
            Self::Revoke { .. } => "key revoke",
        }
    }
}

/// Flags of `mcp key create`.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// What to call it.
    pub name: String,
    /// What its bearer may do: `viewer`, `operator` or `admin`, alone or with `@namespace`. Can be given more than once.
    #[arg(long, required = true, value_name = "ROLE")]
    pub role: Vec<GrantFlag>,
    /// How long it holds, for instance `90d`. Without it, until it is revoked.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub ttl: Option<Duration>,
}

/// A role, in one namespace or everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFlag {
    role: Role,
    namespace: String,
}

impl GrantFlag {
    /// The form of the wire.
    pub fn wire(&self) -> Grant {
        Grant { role: self.role.into(), namespace: self.namespace.clone() }
    }
}

impl FromStr for GrantFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, namespace) = text.split_once('@').unwrap_or((text, ""));
        let role = match role {
            "viewer" => Role::Viewer,
            "operator" => Role::Operator,
            "admin" => Role::Admin,
            _ => return Err(format!("`{role}` is not `viewer`, `operator` or `admin`")),
        };
        if text.ends_with('@') {
            return Err("the namespace after `@` is missing".to_owned());
        }
        Ok(Self { role, namespace: namespace.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_name_a_namespace() {
        let read = |text: &str| text.parse::<GrantFlag>().map(|flag| (flag.role, flag.namespace));
        assert_eq!(read("viewer"), Ok((Role::Viewer, String::new())));
        assert_eq!(read("operator@a-1"), Ok((Role::Operator, "a-1".to_owned())));
        for text in ["", "root", "@a", "admin@"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
