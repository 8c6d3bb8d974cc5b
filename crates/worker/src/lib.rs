//! The worker service: runs processes for the scheduler.
