//! How programs call MCP: discovery, balancing, retries, typed client, worker SDK.
