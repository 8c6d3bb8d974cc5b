//! What tests share: waiting for a condition, free ports, real etcd, PostgreSQL and collector processes.

pub mod etcd;
pub mod http;
pub mod otlp;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod wait;

pub use postgres::Postgres;
pub use process::Process;
pub use proxy::FaultProxy;
pub use wait::eventually;
