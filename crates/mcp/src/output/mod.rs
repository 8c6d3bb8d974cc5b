//! What the command prints.

pub mod json;
pub mod print;
pub mod table;
