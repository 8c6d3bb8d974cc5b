//! Time, as the shell sees it.

/// Time in milliseconds since 1970. It need not go forward steadily; only timers depend on it.
pub type Millis = u64;
