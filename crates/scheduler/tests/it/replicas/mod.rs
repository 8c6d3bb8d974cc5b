//! Several replicas on one PostgreSQL and one etcd: real processes, real signals.

mod calls;
mod crashes;
mod fleet;
mod load;
mod moves;
mod schedules;
mod workflows;
