//! Which gRPC methods a server has: for routing, and so that labels have a closed set of values.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Label of a method that no descriptor names.
pub(super) const OTHER: &str = "_OTHER";

/// Services whose calls are so frequent and so uniform that a span each would bury the rest.
const UNTRACED: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

/// A gRPC method, as spans and metrics name it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Method {
    /// `package.Service`
    pub(super) service: Arc<str>,
    /// Its name, or [`OTHER`].
    pub(super) name: Arc<str>,
    /// Whether calls get spans.
    pub(super) is_traced: bool,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Target {
    /// To a method.
    Method(Arc<Method>),
    /// To a service of ours that does not have the method.
    NoSuchMethod {
        /// The service.
        service: Arc<str>,
    },
    /// Not to a gRPC service of ours.
    Elsewhere,
}

/// All methods of a server.
#[derive(Debug, Default)]
pub(super) struct Methods {
    by_path: HashMap<String, Arc<Method>>,
    /// For each service, the stand-in for its methods when no descriptor tells them.
    services: HashMap<Arc<str>, Option<Arc<Method>>>,
}

impl Methods {
    /// The methods of `services`, as far as the descriptor sets tell them.
    pub(super) fn new(services: &[String], descriptor_sets: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut methods = Self::default();
        let mut described: HashMap<String, Vec<String>> = HashMap::new();
        for set in descriptor_sets {
            for file in FileDescriptorSet::decode(*set)?.file {
                let package = file.package().to_owned();
                for service in &file.service {
                    let names = service.method.iter().map(|method| method.name().to_owned()).collect();
                    described.insert(full_name(&package, service.name()), names);
                }
            }
        }
        for service in services {
            methods.add(service, described.get(service));
        }
        Ok(methods)
    }

    fn add(&mut self, service: &str, names: Option<&Vec<String>>) {
        let service: Arc<str> = service.into();
        let is_traced = !UNTRACED.contains(&&*service);
        let method = |name: &str| Arc::new(Method { service: Arc::clone(&service), name: name.into(), is_traced });
        for name in names.into_iter().flatten() {
            self.by_path.insert(format!("/{service}/{name}"), method(name));
        }
        let stand_in = names.is_none().then(|| method(OTHER));
        self.services.insert(service, stand_in);
    }

    /// Where `path` leads.
    pub(super) fn target(&self, path: &str) -> Target {
        if let Some(method) = self.by_path.get(path) {
            return Target::Method(Arc::clone(method));
        }
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(service, _)| service);
        match service.and_then(|service| self.services.get_key_value(service)) {
            Some((_, Some(stand_in))) => Target::Method(Arc::clone(stand_in)),
            Some((service, None)) => Target::NoSuchMethod { service: Arc::clone(service) },
            None => Target::Elsewhere,
        }
    }
}

fn full_name(package: &str, service: &str) -> String {
    if package.is_empty() { service.to_owned() } else { format!("{package}.{service}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(methods: &Methods, path: &str) -> String {
        match methods.target(path) {
            Target::Method(method) => format!("{} {}", method.service, method.name),
            Target::NoSuchMethod { service } => format!("{service} lacks it"),
            Target::Elsewhere => "elsewhere".to_owned(),
        }
    }

    #[test]
    fn a_path_leads_to_its_method() {
        let services = ["grpc.health.v1.Health".to_owned(), "acme.Unknown".to_owned()];
        let methods = Methods::new(&services, &[tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        for (path, expected) in [
            ("/grpc.health.v1.Health/Check", "grpc.health.v1.Health Check"),
            ("/grpc.health.v1.Health/Chuck", "grpc.health.v1.Health lacks it"),
            ("/acme.Unknown/Anything", "acme.Unknown _OTHER"),
            ("/mcp.scheduler.v1.TaskService/GetTask", "elsewhere"),
            ("/livez", "elsewhere"),
            ("/", "elsewhere"),
        ] {
            assert_eq!(seen(&methods, path), expected, "{path}");
        }
    }
}
