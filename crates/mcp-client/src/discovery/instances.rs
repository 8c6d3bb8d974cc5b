//! An immutable view of the known instances.

use std::{collections::HashMap, sync::Arc};

use mcp_coord::InstanceRecord;

/// Marks the name under which instances registered, where names of gRPC services are expected too. No gRPC service has
/// it in its name.
const REGISTERED: char = '@';

/// The name of the instances that registered under `service`, among names of gRPC services.
pub fn registered_name(service: &str) -> String {
    format!("{REGISTERED}{service}")
}

/// A name of [`Instances::names`] for people: without the mark of [`registered_name`].
pub fn plain_name(name: &str) -> &str {
    name.strip_prefix(REGISTERED).unwrap_or(name)
}

/// All instances at one moment, with the indices that routing needs.
#[derive(Debug, Default)]
pub struct Instances {
    all: Vec<Arc<InstanceRecord>>,
    by_service: HashMap<String, Vec<Arc<InstanceRecord>>>,
    by_grpc_service: HashMap<String, Vec<Arc<InstanceRecord>>>,
}

impl Instances {
    /// Indexes `records`, which keep their order within each index.
    pub fn new(records: impl IntoIterator<Item = Arc<InstanceRecord>>) -> Self {
        let mut instances = Self::default();
        for record in records {
            instances.by_service.entry(record.service.clone()).or_default().push(Arc::clone(&record));
            for grpc_service in &record.grpc_services {
                instances.by_grpc_service.entry(grpc_service.clone()).or_default().push(Arc::clone(&record));
            }
            instances.all.push(record);
        }
        instances
    }

    /// Every instance, sorted by service, then instance id.
    pub fn all(&self) -> &[Arc<InstanceRecord>] {
        &self.all
    }

    /// The instances of a service; empty when it is not known.
    pub fn by_service(&self, service: &str) -> &[Arc<InstanceRecord>] {
        self.by_service.get(service).map_or(&[], Vec::as_slice)
    }

    /// The instances that serve a gRPC service, by its full name; empty when it is not known.
    pub fn by_grpc_service(&self, grpc_service: &str) -> &[Arc<InstanceRecord>] {
        self.by_grpc_service.get(grpc_service).map_or(&[], Vec::as_slice)
    }

    /// Every name by which calls may ask for instances, in no order: the full names of gRPC services, and the
    /// [`registered_name`] of each service.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let services = self.by_service.keys().map(|service| registered_name(service));
        self.by_grpc_service.keys().cloned().chain(services)
    }

    /// The instances by a name of [`names`](Self::names); empty when it is not known.
    pub fn by_name(&self, name: &str) -> &[Arc<InstanceRecord>] {
        match name.strip_prefix(REGISTERED) {
            Some(service) => self.by_service(service),
            None => self.by_grpc_service(name),
        }
    }

    /// The names of the known gRPC services, in no order.
    pub fn grpc_services(&self) -> impl Iterator<Item = &str> {
        self.by_grpc_service.keys().map(String::as_str)
    }
}
