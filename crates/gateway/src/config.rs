//! The gateway's settings.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use mcp_chassis::{CoordSettings, ServiceConfig, ServiceSettings, TelemetrySettings, settings};
use serde::{Deserialize, Serialize};

use crate::upstream::policy::Policy;
pub use crate::{
    forwarded::settings::{Family, ForwardedSettings, Network},
    frames::settings::{DEFAULT_PORT as FRAME_PORT, FrameSettings},
    limits::settings::{By, LimitSettings, RateLimit},
    security::{
        Grants,
        settings::{ClientSettings, IssuerSettings, RoleMapping, Secret, SecuritySettings, TlsSettings},
    },
};

/// Name under which the gateway registers, and of its settings in the environment.
pub const SERVICE: &str = "gateway";

/// The port it listens on unless told otherwise.
const PORT: u16 = 8080;

/// Most data-plane threads that may be configured.
const THREADS_MAX: usize = 256;

/// All of the gateway's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address, name and life cycle.
    pub service: ServiceSettings,
    /// Where coordination lies.
    pub coord: CoordSettings,
    /// Logs, traces and metrics.
    pub telemetry: TelemetrySettings,
    /// What only the gateway has.
    pub gateway: GatewaySettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service: ServiceSettings::with_port(PORT),
            coord: CoordSettings::default(),
            telemetry: TelemetrySettings::default(),
            gateway: GatewaySettings::default(),
        }
    }
}

impl ServiceConfig for Config {
    fn service(&self) -> &ServiceSettings {
        &self.service
    }

    fn coord(&self) -> &CoordSettings {
        &self.coord
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }

    fn validate(&self) -> Result<(), settings::Error> {
        self.gateway.check().map_err(|(key, reason)| settings::Error::invalid(format!("gateway.{key}"), reason))?;
        match self.gateway.policy.faults().into_iter().next() {
            Some(fault) => Err(settings::Error::invalid(format!("gateway.policy.{}", fault.field), fault.description)),
            None => Ok(()),
        }
    }
}

/// The `[gateway]` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// Threads that serve calls, 1 to 256. Each has connections of its own, to callers and to instances.
    /// 0 means one for each core.
    pub data_plane_threads: usize,
    /// True: one line of JSON for each request. Can be changed while the gateway runs, at `/admin/access-log`.
    pub access_log: bool,
    /// The file that the lines are added to; without it, standard output.
    pub access_log_file: Option<PathBuf>,
    /// How long the port stays open after readiness turned false, so that load balancers notice first. Answers by
    /// HTTP/1.1 say `connection: close` from its beginning on.
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
    /// How long an HTTP/1.1 connection without a call stays open after that, for a call that is on its way.
    #[serde(with = "humantime_serde")]
    pub drain_linger: Duration,
    /// What callers may do.
    pub downstream: DownstreamSettings,
    /// How instances are called.
    pub upstream: UpstreamSettings,
    /// How calls are balanced and what is done when instances fail, unless their route says otherwise.
    pub policy: Policy,
    /// HTTP/JSON in front of gRPC.
    pub json: JsonSettings,
    /// What instances are told about callers.
    pub forwarded: ForwardedSettings,
    /// Who may call.
    pub security: SecuritySettings,
    /// How often.
    pub limits: LimitSettings,
    /// The wire frame.
    pub frames: FrameSettings,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            data_plane_threads: 0,
            access_log: false,
            access_log_file: None,
            drain_delay: Duration::ZERO,
            drain_linger: Duration::from_secs(1),
            downstream: DownstreamSettings::default(),
            upstream: UpstreamSettings::default(),
            policy: Policy::default(),
            json: JsonSettings::default(),
            forwarded: ForwardedSettings::default(),
            security: SecuritySettings::default(),
            limits: LimitSettings::default(),
            frames: FrameSettings::default(),
        }
    }
}

/// Limits on callers' connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownstreamSettings {
    /// Connections in all; more wait in the listen queue.
    pub connections_max: usize,
    /// Connections from one address, of IPv6 from one /64; more are closed at once. 0 means no limit.
    pub connections_per_ip_max: usize,
    /// Calls in flight on each data-plane thread; more are refused as OVERLOADED.
    pub calls_max: usize,
    /// Streams of one HTTP/2 connection.
    pub streams_max: u32,
    /// Bytes of one request's head.
    pub header_bytes_max: u32,
    /// Headers of one request.
    pub header_count_max: usize,
    /// How long a caller may take for the handshake of TLS, and to send a request's head; on HTTP/1.1 also how long it may be idle between two.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long an HTTP/2 connection may be without a new call before its caller is told to go away. Calls that run go on.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Least speed of a JSON request's body, in bytes a second on average. 0 means any.
    pub body_rate_min: u32,
    /// How long a body may take whatever its speed.
    #[serde(with = "humantime_serde")]
    pub body_grace: Duration,
    /// Calls that a connection may give up within their first second, counted over half a minute. It is closed when
    /// there are more and they are most of its calls.
    pub resets_max: u32,
    /// How often a silent HTTP/2 connection is pinged.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long it has to answer.
    #[serde(with = "humantime_serde")]
    pub ping_timeout: Duration,
}

impl Default for DownstreamSettings {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_ip_max: 12_000,
            calls_max: 20_000,
            streams_max: 256,
            header_bytes_max: 32 * 1024,
            header_count_max: 100,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(900),
            body_rate_min: 1_024,
            body_grace: Duration::from_secs(10),
            resets_max: 500,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(15),
        }
    }
}

/// How instances are called.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// How long a connection may take to be made.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Wait after a first failed connect; it doubles with each further one, up to `backoff_max`, and varies by half.
    #[serde(with = "humantime_serde")]
    pub backoff_min: Duration,
    /// Longest wait between two connects.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Connections from one data-plane thread to one instance.
    pub connections_max: usize,
    /// Calls on one of them before the next one is opened. Servers built on h2 close a connection on which more than 100
    /// small messages wait to be read, however many calls they allow.
    pub streams_max: usize,
    /// How often a silent connection is pinged.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long an instance has to answer before its calls are given up.
    #[serde(with = "humantime_serde")]
    pub ping_timeout: Duration,
    /// Bytes of streamed requests that one data-plane thread keeps until their answers begin, to be able to repeat
    /// them; a request beyond it is not repeated.
    pub repeat_bytes_max: usize,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            connections_max: 32,
            streams_max: 100,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            repeat_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// HTTP/JSON in front of gRPC.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonSettings {
    /// Bytes of a request body. The default lets any message of 16 MiB through, base64 included.
    pub body_bytes_max: usize,
    /// Bytes of one answer's message.
    pub answer_bytes_max: usize,
    /// Bytes of request bodies that one data-plane thread holds at a time; more are refused as OVERLOADED.
    pub buffer_bytes_max: usize,
    /// Deadline of a call that answers once, when the caller names none. A request that says in a field `timeout`
    /// how long it waits gets that much longer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for JsonSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 24 * 1024 * 1024,
            answer_bytes_max: 64 * 1024 * 1024,
            buffer_bytes_max: 256 * 1024 * 1024,
            timeout: Duration::from_secs(60),
        }
    }
}

impl GatewaySettings {
    /// The number of data-plane threads, the default worked out.
    pub fn threads(&self) -> usize {
        match self.data_plane_threads {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX),
            threads => threads,
        }
    }

    /// The first wrong key and what is wrong with it.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let (down, up, json) = (&self.downstream, &self.upstream, &self.json);
        let counts = [
            ("downstream.connections_max", down.connections_max),
            ("downstream.calls_max", down.calls_max),
            ("downstream.streams_max", down.streams_max as usize),
            ("downstream.header_count_max", down.header_count_max),
            ("downstream.resets_max", down.resets_max as usize),
            ("upstream.connections_max", up.connections_max),
            ("upstream.streams_max", up.streams_max),
            ("json.body_bytes_max", json.body_bytes_max),
            ("json.answer_bytes_max", json.answer_bytes_max),
        ];
        let times = [
            ("downstream.header_timeout", down.header_timeout),
            ("downstream.idle_timeout", down.idle_timeout),
            ("downstream.ping_interval", down.ping_interval),
            ("downstream.ping_timeout", down.ping_timeout),
            ("upstream.connect_timeout", up.connect_timeout),
            ("upstream.backoff_min", up.backoff_min),
            ("upstream.ping_interval", up.ping_interval),
            ("upstream.ping_timeout", up.ping_timeout),
            ("json.timeout", json.timeout),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return Err((key, "must be at least 1".into()));
        }
        if let Some((key, _)) = times.into_iter().find(|(_, value)| value.is_zero()) {
            return Err((key, "must be longer than 0".into()));
        }
        if self.data_plane_threads > THREADS_MAX {
            return Err((
                "data_plane_threads",
                format!("is {}, must be at most {THREADS_MAX}", self.data_plane_threads),
            ));
        }
        if down.header_bytes_max < 8 * 1024 {
            return Err((
                "downstream.header_bytes_max",
                format!("is {}, must be at least 8192", down.header_bytes_max),
            ));
        }
        if up.backoff_max < up.backoff_min {
            let reason = format!("is {:?}, less than `upstream.backoff_min`, {:?}", up.backoff_max, up.backoff_min);
            return Err(("upstream.backoff_max", reason));
        }
        if json.buffer_bytes_max < json.body_bytes_max {
            let reason =
                format!("is {}, less than `json.body_bytes_max`, {}", json.buffer_bytes_max, json.body_bytes_max);
            return Err(("json.buffer_bytes_max", reason));
        }
        self.forwarded.check()?;
        self.security.check()?;
        self.frames.check()?;
        self.limits.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(GatewaySettings::default().check(), Ok(()));
        assert!(GatewaySettings::default().threads() >= 1);
    }

    #[test]
    fn a_wrong_value_is_refused_by_its_key() {
        let mut settings = GatewaySettings::default();
        settings.json.buffer_bytes_max = 1;
        assert_eq!(settings.check().unwrap_err().0, "json.buffer_bytes_max");
        settings.upstream.backoff_max = Duration::from_millis(1);
        assert_eq!(settings.check().unwrap_err().0, "upstream.backoff_max");
        settings.downstream.calls_max = 0;
        assert_eq!(settings.check().unwrap_err().0, "downstream.calls_max");
        let mut config = Config::default();
        config.gateway.policy.breaker.probes = 0;
        assert!(config.validate().unwrap_err().to_string().contains("gateway.policy.breaker.probes"));
    }
}
