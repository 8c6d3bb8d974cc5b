//! What the fuzz targets call: input of any kind, and what must hold of it. A broken promise is a panic.
//!
//! Compiled for them (feature `fuzzing`) and for the tests, which repeat every input that was ever kept.

mod bodies;
mod heads;
mod sessions;
mod templates;

#[cfg(test)]
mod tests;

pub use bodies::Bodies;
pub use heads::Heads;
pub use sessions::sessions;
pub use templates::templates;
