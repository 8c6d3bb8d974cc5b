//! Help of `mcp key`.

/// Below `mcp key --help`.
pub(in crate::args) const KEY: &str = "\
Examples:
  mcp key create ci --role operator@builds --ttl 90d
  mcp key list
  mcp key revoke 3f9c0a1b2c3d4e5f

All of it needs an admin: the gateway's bootstrap key at first, later a key that was made with `--role admin`. Show it by
--token or MCP_TOKEN.";

/// Below `mcp key create --help`.
pub(in crate::args) const CREATE: &str = "\
Examples:
  mcp key create ana --role admin
  mcp key create ci --role operator@builds --role viewer --ttl 90d
  export MCP_TOKEN=$(mcp key create ci --role operator -o json | jq -r .secret)

A role is `viewer` (reads), `operator` (changes tasks, queues, schedules, workflows) or `admin` (keys, routes), alone or in
one namespace: `operator@builds`. The key is printed once and cannot be shown again.";

/// Below `mcp key list --help`.
pub(in crate::args) const LIST: &str = "\
Examples:
  mcp key list
  mcp key list -o json | jq -r '.keys[] | select(.name == \"ci\") | .id'";

/// Below `mcp key revoke --help`.
pub(in crate::args) const REVOKE: &str = "\
Examples:
  mcp key revoke 3f9c0a1b2c3d4e5f       # the part of the key after `mcp_`, as in `mcp key list`";
