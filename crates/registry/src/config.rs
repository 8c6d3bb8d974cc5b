//! The registry's settings.

use mcp_chassis::{CoordSettings, ServiceConfig, ServiceSettings, TelemetrySettings, settings};
use serde::{Deserialize, Serialize};

/// The port it listens on unless told otherwise.
const PORT: u16 = 7101;

/// Most watches that may be configured.
const WATCHES_MAX: usize = 100_000;

/// All of the registry's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address, name and life cycle.
    pub service: ServiceSettings,
    /// Where coordination lies.
    pub coord: CoordSettings,
    /// Logs, traces and metrics.
    pub telemetry: TelemetrySettings,
    /// What only the registry has.
    pub registry: RegistrySettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service: ServiceSettings::with_port(PORT),
            coord: CoordSettings::default(),
            telemetry: TelemetrySettings::default(),
            registry: RegistrySettings::default(),
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
        let watches = self.registry.watches_max;
        if !(1..=WATCHES_MAX).contains(&watches) {
            let reason = format!("{watches} is not between 1 and {WATCHES_MAX}");
            return Err(settings::Error::invalid("registry.watches_max", reason));
        }
        Ok(())
    }
}

/// The `[registry]` section.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Watches that may be open at once, 1 to 100,000; more are refused as OVERLOADED. Each costs a stream to the
    /// coordination service.
    pub watches_max: usize,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self { watches_max: 1_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right_and_no_watches_at_all_are_refused() {
        let mut config = Config::default();
        config.validate().unwrap();
        assert_eq!(config.service.listen.port(), PORT);
        config.registry.watches_max = 0;
        let error = config.validate().unwrap_err();
        assert!(error.to_string().contains("registry.watches_max"), "{error}");
    }
}
