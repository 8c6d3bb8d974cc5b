//! The simulation: runs with random graphs in a world that crashes, loses, doubles, delays and reorders, in one thread and
//! from one seed, and a checker beside it that shares no code with the rules.

mod checker;
mod plan;
mod tests;
mod world;

/// What a check says.
type Verdict<T = ()> = Result<T, String>;
