//! The scheduler service: durable tasks handed to workers.
