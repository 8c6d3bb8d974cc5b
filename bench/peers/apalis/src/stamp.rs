//! How long ago a task was submitted, by the clock that all processes of this machine share.

use std::{fs::OpenOptions, io::Write, sync::OnceLock};

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Called last in a handler: appends the time since `submitted` to the file of the harness. It is taken before the write.
pub(crate) fn record(submitted: i64) -> anyhow::Result<()> {
    static FILE: OnceLock<std::fs::File> = OnceLock::new();
    let took = now() - submitted;
    let file = match FILE.get() {
        Some(file) => file,
        None => {
            let opened = OpenOptions::new().append(true).open(crate::setting("PEER_LATENCY_FILE")?)?;
            FILE.get_or_init(|| opened)
        }
    };
    // One write for a line, so that lines of different threads stay whole.
    (&*file).write_all(format!("{took}\n").as_bytes())?;
    Ok(())
}
