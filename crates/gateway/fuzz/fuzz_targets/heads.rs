//! Heads of requests.
#![no_main]

use gateway::fuzzing::Heads;

thread_local! {
    static HEADS: Heads = Heads::new();
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| HEADS.with(|heads| heads.head(data)));
