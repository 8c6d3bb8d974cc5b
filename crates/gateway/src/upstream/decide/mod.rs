//! The decisions about instances, without a clock, randomness or I/O of their own: the time and the dice are
//! arguments. Each file is one decision.

pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod ejection;
pub(crate) mod ewma;
pub(crate) mod gradient;
pub(crate) mod outcome;
pub(crate) mod pair;
pub(crate) mod retry;
pub(crate) mod ring;
pub(crate) mod shed;
pub(crate) mod slow_start;
pub(crate) mod spread;
pub(crate) mod turns;
pub(crate) mod window;
