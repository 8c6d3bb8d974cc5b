//! Which gRPC services are registered now. Pure.
//!
//! A [`Snapshot`](super::Snapshot) never forgets a service, so that a call of one that is down says so. What the gateway
//! shows of itself (its document, its reflection) is about those that are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mcp_client::discovery::Instances;

use super::{Snapshot, catalog::INFRASTRUCTURE};
use crate::platform::PACKAGE;

/// A build of a service: the name under which its instances registered, and their version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Build {
    /// The name.
    pub(crate) service: String,
    /// The version.
    pub(crate) version: String,
}

/// The full names of the gRPC services that some instance serves, and its builds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Live(BTreeMap<String, BTreeSet<Build>>);

/// What is registered now, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// What is known, of services that are gone too.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Who is there.
    pub(crate) live: Arc<Live>,
}

impl Live {
    /// Of these instances, and of the gateway's `own` services, which are always there.
    pub(crate) fn of(instances: &Instances, own: &[&str]) -> Self {
        let mut live: BTreeMap<String, BTreeSet<Build>> = BTreeMap::new();
        for record in instances.all() {
            let build = Build { service: record.service.clone(), version: record.version.clone() };
            let names = record.grpc_services.iter();
            for name in names.filter(|name| !name.starts_with(INFRASTRUCTURE) && !name.starts_with(PACKAGE)) {
                live.entry(name.clone()).or_default().insert(build.clone());
            }
        }
        let build = Build { service: crate::config::SERVICE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        live.extend(own.iter().map(|name| ((*name).to_owned(), BTreeSet::from([build.clone()]))));
        Self(live)
    }

    /// The builds that serve a service; `None` when nobody does.
    pub(crate) fn builds(&self, service: &str) -> Option<&BTreeSet<Build>> {
        self.0.get(service)
    }

    /// Every service, in the order of their names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Shown {
    /// True when `other` shows the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.snapshot, &other.snapshot) && Arc::ptr_eq(&self.live, &other.live)
    }

    /// The services that are there and whose descriptors are known, in the order of their names.
    pub(crate) fn described(&self) -> impl Iterator<Item = &super::Known> {
        self.snapshot.services().filter(|known| self.live.builds(known.service.name()).is_some())
    }

    /// The full names of those that are there and tell nothing of themselves.
    pub(crate) fn undescribed(&self) -> impl Iterator<Item = &str> {
        self.live.services().filter(|name| !self.snapshot.has_service(name))
    }
}

#[cfg(test)]
mod tests {
    use mcp_coord::InstanceRecord;

    use super::*;

    #[test]
    fn what_is_registered_is_live_and_nobody_takes_the_gateways_names() {
        let record = |id: &str, version: &str, names: &[&str]| {
            Arc::new(InstanceRecord {
                service: "shop".into(),
                instance_id: id.into(),
                address: format!("{id}:1"),
                version: version.into(),
                zone: String::new(),
                weight: 100,
                grpc_services: names.iter().map(|name| (*name).to_owned()).collect(),
                labels: BTreeMap::new(),
                registered_unix_ms: 1,
            })
        };
        let instances = Instances::new([
            record("a", "1", &["shop.v1.Shop", "grpc.health.v1.Health"]),
            record("b", "2", &["shop.v1.Shop", "mcp.gateway.v1.KeyService"]),
        ]);
        let live = Live::of(&instances, &["mcp.gateway.v1.KeyService"]);
        assert_eq!(live.services().collect::<Vec<_>>(), ["mcp.gateway.v1.KeyService", "shop.v1.Shop"]);
        let versions = |name| live.builds(name).unwrap().iter().map(|build| build.version.clone()).collect::<Vec<_>>();
        assert_eq!(versions("shop.v1.Shop"), ["1", "2"]);
        assert_eq!(versions("mcp.gateway.v1.KeyService"), [env!("CARGO_PKG_VERSION")]);
        assert_eq!(Live::of(&Instances::new([]), &[]), Live::default());
    }
}
