//! API keys as a table.

use std::time::SystemTime;

use mcp_proto::gateway::v1::{Grant, Key, Role};

use super::table::{from_now, plain, text};

/// The keys, one per row.
pub fn keys(keys: &[Key], now: SystemTime) -> String {
    let mut table = plain(&["ID", "NAME", "ROLES", "MADE BY", "MADE", "ENDS"]);
    for key in keys {
        let roles: Vec<String> = key.grants.iter().map(grant).collect();
        table.add_row([
            key.id.clone(),
            key.name.clone(),
            roles.join(" "),
            key.created_by.clone(),
            from_now(key.create_time, now),
            from_now(key.expire_time, now),
        ]);
    }
    text(table)
}

fn grant(grant: &Grant) -> String {
    let role = match grant.role() {
        Role::Unspecified => "?",
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    match grant.namespace.as_str() {
        "" => role.to_owned(),
        namespace => format!("{role}@{namespace}"),
    }
}
