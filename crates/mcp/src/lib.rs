//! The mcp binary: command line and all services in one process.
