//! The worker's settings.

use std::{collections::BTreeMap, ops::RangeInclusive, path::PathBuf, time::Duration};

use mcp_chassis::{CoordSettings, ServiceConfig, ServiceSettings, TelemetrySettings, settings};
use mcp_client::worker::{SLOTS_MAX, Taint, WorkerOptions};
use mcp_proto::Error;
use serde::{Deserialize, Serialize};

/// The port it listens on unless told otherwise.
const PORT: u16 = 7103;
/// How many attempts may run at the same time.
const SLOTS: RangeInclusive<usize> = 1..=SLOTS_MAX;
/// Slots for each core unless told otherwise: programs wait for something half of the time.
const SLOTS_PER_CORE: usize = 2;
/// Longest time between SIGTERM and SIGKILL.
const KILL_GRACE_MAX: Duration = Duration::from_secs(300);
/// What the end of a drain takes beyond the two graces: last results, deregistration.
const DRAIN_MARGIN: Duration = Duration::from_secs(10);
/// Time for a whole shutdown unless told otherwise: both graces and the margin.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(40);

/// All of the worker's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address, name and life cycle.
    pub service: ServiceSettings,
    /// Where coordination lies.
    pub coord: CoordSettings,
    /// Logs, traces and metrics.
    pub telemetry: TelemetrySettings,
    /// What only the worker has.
    pub worker: WorkerSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service: ServiceSettings { shutdown_grace: SHUTDOWN_GRACE, ..ServiceSettings::with_port(PORT) },
            coord: CoordSettings::default(),
            telemetry: TelemetrySettings::default(),
            worker: WorkerSettings::default(),
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
        self.worker.check().map_err(|(key, reason)| settings::Error::invalid(format!("worker.{key}"), reason))?;
        let drain = self.worker.drain_grace + self.worker.kill_grace + DRAIN_MARGIN;
        if drain > self.service.shutdown_grace {
            let reason = format!(
                "{:?} is shorter than `worker.drain_grace` + `worker.kill_grace` + {DRAIN_MARGIN:?}, that is {drain:?}",
                self.service.shutdown_grace,
            );
            return Err(settings::Error::invalid("service.shutdown_grace", reason));
        }
        Ok(())
    }
}

/// The `[worker]` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// Attempts it runs at the same time, 1 to 10,000. By default two for each core.
    pub slots: usize,
    /// Namespaces it serves. None means every one.
    pub namespaces: Vec<String>,
    /// Queues it serves in them. None means every one.
    pub queues: Vec<String>,
    /// What placement rules of tasks compare, each `key=value`, or `key` for an empty value. At most 64.
    pub labels: Vec<String>,
    /// Only tasks that tolerate every one of these run here, each `key=value`, or `key` for an empty value. At most 16.
    pub taints: Vec<String>,
    /// CPU for tasks, in thousandths of a core. 0 means it is not counted.
    pub cpu_millis: u32,
    /// Memory for tasks, in bytes. 0 means it is not counted.
    pub memory_bytes: u64,
    /// Name for people. Empty means the instance id.
    pub name: String,
    /// URLs of schedulers or gateways, `http://host:port`. None means the schedulers that are registered.
    pub schedulers: Vec<String>,
    /// Folder in which each attempt gets one of its own. Unset means the system's folder for temporary files.
    pub work_dir: Option<PathBuf>,
    /// How long running attempts may go on after the stop signal before they are stopped and handed back.
    #[serde(with = "humantime_serde")]
    pub drain_grace: Duration,
    /// How long a program may take to end after SIGTERM before it gets SIGKILL. At most 5 min.
    #[serde(with = "humantime_serde")]
    pub kill_grace: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self {
            slots: (cores * SLOTS_PER_CORE).min(*SLOTS.end()),
            namespaces: Vec::new(),
            queues: Vec::new(),
            labels: Vec::new(),
            taints: Vec::new(),
            cpu_millis: 0,
            memory_bytes: 0,
            name: String::new(),
            schedulers: Vec::new(),
            work_dir: None,
            drain_grace: Duration::from_secs(25),
            kill_grace: Duration::from_secs(5),
        }
    }
}

impl WorkerSettings {
    /// The worker's labels and taints, checked.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(crate) fn marks(&self) -> Result<Marks, (&'static str, String)> {
        let mut labels = BTreeMap::new();
        for text in &self.labels {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(("labels", format!("`{key}` is there twice")));
            }
        }
        let taints = self.taints.iter().map(|text| text.parse()).collect::<Result<_, Error>>();
        let taints = taints.map_err(|error| ("taints", fault(&error)))?;
        let options = WorkerOptions { labels, taints, ..WorkerOptions::default() };
        match options.check() {
            Ok(()) => Ok(Marks { labels: options.labels, taints: options.taints }),
            Err(error) => {
                let is_label = error.violations().first().is_some_and(|violation| violation.field == "labels");
                Err((if is_label { "labels" } else { "taints" }, fault(&error)))
            }
        }
    }

    /// The key that is wrong, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        if !SLOTS.contains(&self.slots) {
            return Err(("slots", format!("{} is not between {} and {}", self.slots, SLOTS.start(), SLOTS.end())));
        }
        if self.kill_grace > KILL_GRACE_MAX {
            return Err(("kill_grace", format!("{:?} is longer than {KILL_GRACE_MAX:?}", self.kill_grace)));
        }
        if self.namespaces.iter().any(String::is_empty) {
            return Err(("namespaces", "a name is empty".to_owned()));
        }
        if self.queues.iter().any(String::is_empty) {
            return Err(("queues", "a name is empty".to_owned()));
        }
        self.marks()?;
        match self.schedulers.iter().find(|url| mcp_client::Client::check_url(url).is_err()) {
            Some(url) => Err(("schedulers", format!("`{url}` is not `http://host:port`"))),
            None => Ok(()),
        }
    }
}

/// What is wrong, without the name of the field: the setting has its own.
fn fault(error: &Error) -> String {
    error.violations().first().map_or_else(|| error.to_string(), |violation| violation.description.clone())
}

/// What placement goes by.
#[derive(Debug)]
pub(crate) struct Marks {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Taint>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcp_chassis::ServiceConfig as _;

    use super::Config;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_right() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn a_wrong_value_is_refused_by_its_key() {
        assert!(refused(|config| config.worker.slots = 0).contains("worker.slots"));
        assert!(refused(|config| config.worker.slots = 10_001).contains("worker.slots"));
        assert!(refused(|config| config.worker.queues = vec![String::new()]).contains("worker.queues"));
        assert!(refused(|config| config.worker.namespaces = vec![String::new()]).contains("worker.namespaces"));
        assert!(refused(|config| config.worker.schedulers = vec!["host:1".into()]).contains("worker.schedulers"));
        assert!(refused(|config| config.worker.kill_grace = Duration::from_secs(301)).contains("worker.kill_grace"));
    }

    #[test]
    fn labels_and_taints_are_pairs_within_bounds() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let many = |count: usize| (0..count).map(|number| format!("k{number}=v")).collect::<Vec<_>>();
        let mut config = Config::default();
        config.worker.labels = texts(&["topology.kubernetes.io/zone=eu-1", "ssd", "flags=a=b"]);
        config.worker.taints = texts(&["gpu=true", "spot"]);
        config.validate().unwrap();
        let marks = config.worker.marks().unwrap();
        let labels: Vec<_> = marks.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(labels, [("flags", "a=b"), ("ssd", ""), ("topology.kubernetes.io/zone", "eu-1")]);
        assert_eq!((&*marks.taints[0].key, &*marks.taints[0].value, &*marks.taints[1].key), ("gpu", "true", "spot"));

        let twice = refused(|config| config.worker.labels = texts(&["zone=a", "zone=b"]));
        assert!(twice.contains("worker.labels") && twice.contains("`zone` is there twice"), "{twice}");
        assert!(refused(|config| config.worker.labels = texts(&["=a"])).contains("worker.labels"));
        assert!(refused(|config| config.worker.labels = many(65)).contains("worker.labels"));
        let unnamed = refused(|config| config.worker.taints = texts(&["=a"]));
        assert!(unnamed.contains("worker.taints") && !unnamed.contains("INVALID_ARGUMENT"), "{unnamed}");
        assert!(refused(|config| config.worker.taints = many(17)).contains("worker.taints"));
    }

    #[test]
    fn a_shutdown_must_have_time_for_the_drain() {
        let text = refused(|config| config.worker.drain_grace = Duration::from_secs(60));
        assert!(text.contains("service.shutdown_grace") && text.contains("75s"), "{text}");
    }
}
