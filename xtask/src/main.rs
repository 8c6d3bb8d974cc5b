//! Checks of this repository that are code.
fn main() {}
