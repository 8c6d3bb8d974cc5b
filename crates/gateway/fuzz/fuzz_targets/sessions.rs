//! Sessions of the wire frame, without their connections.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::sessions(data));
