//! The server of a service: gRPC and HTTP on one port, health, reflection, metrics, registration, ordered shutdown.
//!
//! Around every gRPC call, outermost first: counting (what a shutdown waits for), span, metrics, the caller's
//! deadline, panic to `INTERNAL`, message limit. HTTP routes of the service get counting and the panic net only: a gateway brings its own spans.
//!
//! It stops in this order: not ready and health `NOT_SERVING`; deregistered; the service's own `on_drain`; no new
//! connections and `GOAWAY` on the old ones; running calls end, at most until `shutdown_grace` has passed since the
//! signal; what is left is cut off and counted.

mod advertise;
mod calls;
mod catch_panic;
mod connections;
mod deadline;
mod frame_limit;
mod health;
mod in_flight;
mod methods;
mod ops;
mod readiness;
mod serve;
mod stack;

use std::{collections::BTreeMap, convert::Infallible, fmt, future::Future, io, pin::Pin};

use axum::response::IntoResponse;
use http::Request;
use tokio::sync::watch;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tower::Service;

pub use advertise::address as advertised_address;
pub use deadline::timeout_of;
pub use frame_limit::{DECODE_BYTES_MAX, GrpcFrameLimit};
pub use readiness::Readiness;

use crate::settings::ServiceSettings;

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener has no address.
    #[error("the listener's address cannot be read")]
    Listener(#[source] io::Error),
    /// A descriptor set cannot be decoded; a fault of the program.
    #[error("a descriptor set cannot be decoded")]
    Descriptors(#[source] Box<dyn std::error::Error + Send + Sync>),
}

type DrainHook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A server that is being put together; [`serve`](Self::serve) runs it.
pub struct Server {
    service: String,
    version: String,
    settings: ServiceSettings,
    instance_id: String,
    cluster: String,
    routes: RoutesBuilder,
    services: Vec<String>,
    reflected: Vec<String>,
    descriptor_sets: Vec<&'static [u8]>,
    http: Option<axum::Router>,
    readiness: Readiness,
    labels: watch::Receiver<BTreeMap<String, String>>,
    on_drain: Option<DrainHook>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("service", &self.service)
            .field("instance_id", &self.instance_id)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// A name for an instance that has none: the service and 48 random bits.
pub fn random_instance_id(service: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{service}-{}", &random[..12])
}

impl Server {
    /// A server without services of its own yet, which registers as `service` in `cluster`.
    pub fn new(
        service: impl Into<String>,
        version: impl Into<String>,
        settings: &ServiceSettings,
        cluster: impl Into<String>,
    ) -> Self {
        let service = service.into();
        Self {
            instance_id: settings.instance_id.clone().unwrap_or_else(|| random_instance_id(&service)),
            version: version.into(),
            settings: settings.clone(),
            cluster: cluster.into(),
            routes: Routes::builder(),
            services: Vec::new(),
            reflected: Vec::new(),
            descriptor_sets: vec![mcp_proto::FILE_DESCRIPTOR_SET],
            http: None,
            readiness: Readiness::new(true),
            labels: watch::channel(BTreeMap::new()).1,
            on_drain: None,
            service,
        }
    }

    /// Serves a gRPC service, lists it in reflection and health, and names it in the registration.
    ///
    /// Give the service `max_decoding_message_size(`[`DECODE_BYTES_MAX`]`)`: tonic's own default is 4 MiB.
    #[must_use]
    pub fn grpc<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.services.push(S::NAME.to_owned());
        self
    }

    /// Makes more services known to reflection and method names: an encoded `FileDescriptorSet`. Those of this
    /// repository are known already.
    #[must_use]
    pub fn descriptor_set(mut self, encoded: &'static [u8]) -> Self {
        self.descriptor_sets.push(encoded);
        self
    }

    /// Lists services in reflection that this server does not serve itself but passes on.
    #[must_use]
    pub fn reflected(mut self, services: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.reflected.extend(services.into_iter().map(Into::into));
        self
    }

    /// Serves HTTP routes, and by its fallback everything that is not for one of the gRPC services. It must leave
    /// `/livez`, `/readyz`, `/startupz` and `/metrics` free. gRPC calls that reach it get no span, metrics or message
    /// limit from here.
    #[must_use]
    pub fn http(mut self, router: axum::Router) -> Self {
        self.http = Some(router);
        self
    }

    /// Lets the service say when it is ready. Without it, the server is ready at once.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Labels of the registration that change while the server runs.
    #[must_use]
    pub fn labels(mut self, labels: watch::Receiver<BTreeMap<String, String>>) -> Self {
        self.labels = labels;
        self
    }

    /// Runs `hook` during shutdown: calls are no longer wanted but still answered, connections still stand. It is
    /// dropped when `shutdown_grace` is over.
    #[must_use]
    pub fn on_drain<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_drain = Some(Box::new(move || Box::pin(hook())));
        self
    }

    /// Under which name this instance registers.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }
}
