//! The sections that every service has: `[service]`, `[coord]`, `[telemetry]`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Error;

/// Shortest and longest time that a registration may outlive its instance.
const LEASE_TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Longest time that a shutdown may take.
const SHUTDOWN_GRACE_MAX: Duration = Duration::from_secs(3600);
/// Largest share of the calls, compared with the default of 100.
const WEIGHT_MAX: u32 = 10_000;

/// The settings of a service: the three sections that all have, and its own.
///
/// Every section is a struct with `#[serde(default, deny_unknown_fields)]`, so that a wrong key stops the start.
pub trait ServiceConfig: Default + Serialize + DeserializeOwned {
    /// `[service]`
    fn service(&self) -> &ServiceSettings;

    /// `[coord]`
    fn coord(&self) -> &CoordSettings;

    /// `[telemetry]`
    fn telemetry(&self) -> &TelemetrySettings;

    /// Checks the service's own section: ranges and relations that types cannot say. The shared sections have been
    /// checked already.
    ///
    /// # Errors
    /// [`Error::invalid`] with the key that is wrong; the loader adds where its value came from.
    fn validate(&self) -> Result<(), Error>;
}

/// `[service]`: where the service listens and how others find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// Address to listen on, for gRPC and HTTP together. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// `host:port` under which others reach this instance. Without it, the address of the listener; when that is
    /// `0.0.0.0` or `[::]`, this machine's first address that is not a loopback.
    pub advertise: Option<String>,
    /// Name of this instance, unique within the service. Without it, a new random one at each start.
    pub instance_id: Option<String>,
    /// Failure domain, for instance a rack or an availability zone; empty when there is none.
    pub zone: String,
    /// Share of the calls compared with other instances, 1 to 10000.
    pub weight: u32,
    /// How long the registration outlives an instance that died, 1 s to 1 h.
    #[serde(with = "humantime_serde")]
    pub lease_ttl: Duration,
    /// How long a shutdown may take from the signal on; calls still running then are cut off. At most 1 h.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace: Duration,
}

impl Default for ServiceSettings {
    /// A free port of the loopback interface.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise: None,
            instance_id: None,
            zone: String::new(),
            weight: 100,
            lease_ttl: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

impl ServiceSettings {
    /// The defaults of a service whose usual port is `port`, on all interfaces.
    pub fn with_port(port: u16) -> Self {
        Self { listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), ..Self::default() }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        if let Some(advertise) = &self.advertise {
            let port = advertise.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if !port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)) {
                return Err(Error::invalid("service.advertise", format!("`{advertise}` is not `host:port`")));
            }
        }
        if let Some(id) = self.instance_id.as_deref().filter(|id| !is_name(id)) {
            return Err(Error::invalid("service.instance_id", not_a_name(id)));
        }
        if !(1..=WEIGHT_MAX).contains(&self.weight) {
            let reason = format!("{} is not between 1 and {WEIGHT_MAX}", self.weight);
            return Err(Error::invalid("service.weight", reason));
        }
        if !LEASE_TTL.contains(&self.lease_ttl) {
            let reason =
                format!("{:?} is not between {:?} and {:?}", self.lease_ttl, LEASE_TTL.start(), LEASE_TTL.end());
            return Err(Error::invalid("service.lease_ttl", reason));
        }
        if self.shutdown_grace > SHUTDOWN_GRACE_MAX {
            let reason = format!("{:?} is longer than {SHUTDOWN_GRACE_MAX:?}", self.shutdown_grace);
            return Err(Error::invalid("service.shutdown_grace", reason));
        }
        Ok(())
    }
}

/// `[coord]`: the coordination service (etcd).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordSettings {
    /// Name of the cluster; several clusters can share one etcd.
    pub cluster: String,
    /// URLs of etcd's members. In the environment, separated by commas.
    pub endpoints: Vec<String>,
}

impl Default for CoordSettings {
    fn default() -> Self {
        Self { cluster: "local".to_owned(), endpoints: vec!["http://127.0.0.1:2379".to_owned()] }
    }
}

impl CoordSettings {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if !is_name(&self.cluster) {
            return Err(Error::invalid("coord.cluster", not_a_name(&self.cluster)));
        }
        if self.endpoints.is_empty() {
            return Err(Error::invalid("coord.endpoints", "at least one URL is needed"));
        }
        self.endpoints.iter().try_for_each(|endpoint| check_url("coord.endpoints", endpoint))
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Text, for people.
    Pretty,
}

/// `[telemetry]`: logs, traces, metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `json` or `pretty`.
    pub log_format: LogFormat,
    /// Which log lines are written, for instance `info` or `info,scheduler=debug`.
    pub log_filter: String,
    /// URL of an OTLP gRPC receiver for traces, metrics and log lines, for instance `http://collector:4317`. Without it
    /// nothing is sent; `/metrics`, trace ids and the lines on standard error exist all the same.
    pub otlp_endpoint: Option<String>,
    /// Share of the traces that begin here and are recorded, 0 to 1. A trace that began elsewhere follows its root.
    pub sample_ratio: f64,
    /// `service.name` in traces and metrics. Without it, the name of the service.
    pub service_name: Option<String>,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            sample_ratio: 1.0,
            service_name: None,
        }
    }
}

impl TelemetrySettings {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            return Err(Error::invalid("telemetry.log_filter", format!("`{}`: {error}", self.log_filter)));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            let reason = format!("{} is not between 0 and 1", self.sample_ratio);
            return Err(Error::invalid("telemetry.sample_ratio", reason));
        }
        if self.service_name.as_deref().is_some_and(str::is_empty) {
            return Err(Error::invalid("telemetry.service_name", "must not be empty"));
        }
        self.otlp_endpoint.iter().try_for_each(|endpoint| check_url("telemetry.otlp_endpoint", endpoint))
    }
}

/// True for what can be one segment of a coordination key.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn not_a_name(text: &str) -> String {
    format!("`{text}` is not a name (1 to 128 letters, digits, `-`, `_`, `.`)")
}

fn check_url(key: &str, text: &str) -> Result<(), Error> {
    let is_url = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|h| !h.is_empty())
    });
    if is_url { Ok(()) } else { Err(Error::invalid(key, format!("`{text}` is not a URL such as `http://host:2379`"))) }
}
