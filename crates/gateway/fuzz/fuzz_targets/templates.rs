//! Path templates, and paths that are looked for among them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::templates(data));
