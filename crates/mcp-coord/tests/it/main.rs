//! The conformance suite on every backend, and what only a real etcd can show.

#![expect(clippy::unwrap_used, reason = "a test panics when it fails")]

mod backends;
mod embedded;
mod etcd;

use backends::{Folder, Memory, RealEtcd};

mcp_coord::conformance!(embedded_in_memory, Box::new(Memory::start()));
mcp_coord::conformance!(embedded_in_a_folder, Box::new(Folder::start()));
mcp_coord::conformance!(real_etcd, Box::new(RealEtcd::start().await));
mcp_coord::restart_conformance!(embedded_in_a_folder_restarted, Box::new(Folder::start()));
mcp_coord::restart_conformance!(real_etcd_restarted, Box::new(RealEtcd::start().await));
