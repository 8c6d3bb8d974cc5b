//! gRPC health of every service and of the whole server.

use tonic_health::{ServingStatus, server::HealthReporter};

/// The name under which health speaks of the whole server.
const OVERALL: &str = "";

/// Sets the health of all services at once.
#[derive(Debug, Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
    services: Vec<String>,
}

impl Health {
    /// Of the server as a whole and of each of `services`.
    pub(super) fn new(reporter: HealthReporter, services: &[String]) -> Self {
        let services = services.iter().cloned().chain([OVERALL.to_owned()]).collect();
        Self { reporter, services }
    }

    pub(super) async fn set(&self, is_serving: bool) {
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Ends the streams of those who watch, which would otherwise hold up a shutdown for as long as they like.
    pub(super) async fn end_watches(&mut self) {
        for service in &self.services {
            self.reporter.clear_service_status(service).await;
        }
    }
}
