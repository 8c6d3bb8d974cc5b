//! What tests share: waiting for a condition, free ports, real etcd and collector processes.

pub mod wait;

pub use wait::eventually;
