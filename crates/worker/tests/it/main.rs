//! The worker service with real programs and a scheduler that the tests play.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

mod programs;
mod service;
mod stops;
mod support;
