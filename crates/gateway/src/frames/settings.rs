//! The `[gateway.frames]` section: the wire frame.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

/// The port of the `standard` profile in `mcp dev` and in the documentation.
pub const DEFAULT_PORT: u16 = 7070;

/// Most time that a session may be silent, or be kept for its client to come back.
const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The wire frame over TCP, and over WebSocket at `/mcp/ws` of the public port. Limits hold for each session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrameSettings {
    /// Where the `standard` profile is spoken; unset means nowhere. Port 0 takes a free one.
    pub standard_addr: Option<SocketAddr>,
    /// Where the `compact` profile is spoken; unset means nowhere.
    pub compact_addr: Option<SocketAddr>,
    /// Where the `basic` profile is spoken; unset means nowhere.
    pub basic_addr: Option<SocketAddr>,
    /// True: `/mcp/ws` on the public port speaks the `standard` profile, one frame for each binary message.
    pub websocket: bool,
    /// Bytes of one frame's payload.
    pub frame_bytes_max: usize,
    /// Sessions of each listener; more wait in the listen queue.
    pub sessions_max: usize,
    /// Calls in flight that answer once. With so many the session is not read until one has ended.
    pub calls_max: usize,
    /// Subscriptions and streaming calls.
    pub subscriptions_max: usize,
    /// Bytes of answers that wait to be written before the session is read no further and streams wait.
    pub write_bytes_max: usize,
    /// How long a session may be silent before it is pinged.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long it may be silent before it is closed.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// How long after its connection broke a session can be resumed, and how old an answer may be to be sent again.
    #[serde(with = "humantime_serde")]
    pub resume_window: Duration,
    /// Answers that are kept for that.
    pub resume_frames_max: usize,
    /// Their bytes.
    pub resume_bytes_max: usize,
    /// Bytes of such answers that one data-plane thread keeps in all.
    pub resume_thread_bytes_max: usize,
    /// Events that wait for a subscriber; then its subscription says what happens.
    pub events_max: usize,
    /// Bytes of one published message.
    pub event_bytes_max: usize,
    /// Messages a second that one gateway publishes for its callers.
    pub publish_rate_max: u32,
}

impl Default for FrameSettings {
    fn default() -> Self {
        Self {
            standard_addr: None,
            compact_addr: None,
            basic_addr: None,
            websocket: true,
            frame_bytes_max: mcp_proto::MESSAGE_BYTES_MAX,
            sessions_max: 20_000,
            calls_max: 256,
            subscriptions_max: 64,
            write_bytes_max: 256 * 1024,
            ping_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(90),
            resume_window: Duration::from_secs(30),
            resume_frames_max: 64,
            resume_bytes_max: 256 * 1024,
            resume_thread_bytes_max: 64 * 1024 * 1024,
            events_max: 256,
            event_bytes_max: 8 * 1024,
            publish_rate_max: 200,
        }
    }
}

impl FrameSettings {
    /// The first wrong key and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let counts = [
            ("frames.frame_bytes_max", self.frame_bytes_max),
            ("frames.sessions_max", self.sessions_max),
            ("frames.calls_max", self.calls_max),
            ("frames.write_bytes_max", self.write_bytes_max),
            ("frames.events_max", self.events_max),
            ("frames.event_bytes_max", self.event_bytes_max),
            ("frames.publish_rate_max", self.publish_rate_max as usize),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return Err((key, "must be at least 1".into()));
        }
        if self.ping_interval.is_zero() {
            return Err(("frames.ping_interval", "must be longer than 0".into()));
        }
        if self.idle_timeout < self.ping_interval * 2 {
            let reason = format!(
                "is {:?}, less than twice `frames.ping_interval`, {:?}: no ping could be answered in time",
                self.idle_timeout, self.ping_interval
            );
            return Err(("frames.idle_timeout", reason));
        }
        if self.idle_timeout > TIME_MAX || self.resume_window > TIME_MAX {
            return Err(("frames.idle_timeout", "and `frames.resume_window` must be at most 24h".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_time_to_answer_a_ping() {
        let mut settings = FrameSettings::default();
        assert_eq!(settings.check(), Ok(()));
        settings.idle_timeout = settings.ping_interval;
        assert_eq!(settings.check().unwrap_err().0, "frames.idle_timeout");
        settings = FrameSettings { calls_max: 0, ..FrameSettings::default() };
        assert_eq!(settings.check().unwrap_err().0, "frames.calls_max");
    }
}
