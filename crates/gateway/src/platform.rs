//! The gateway's own services of the platform, as one more instance behind its own data plane.
//!
//! They run on the control plane, where they may wait for coordination, and are called like every other service: over
//! gRPC and over HTTP/JSON, with the same deadlines, metrics and checks. Their socket is bound to the loopback interface
//! and takes only calls with a password that this process made up, so nobody gets to them but through the data plane.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use aws_lc_rs::constant_time;
use http::{HeaderMap, HeaderValue};
use mcp_client::discovery::Instances;
use mcp_coord::InstanceRecord;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use tonic::{Request, Status, service::Routes, service::interceptor::InterceptorLayer, transport::Server};

use crate::headers::PASSWORD;

/// How the names of these services begin. Nobody else may register such a one.
pub(crate) const PACKAGE: &str = "mcp.gateway.";

/// Random bytes of the password.
const PASSWORD_BYTES: usize = 32;

/// Why they cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no port on the loopback interface.
    #[error("the gateway's own services have no socket")]
    Listen(#[source] std::io::Error),
    /// The machine gives no random numbers.
    #[error("there are no random numbers")]
    Random,
}

/// Where they are.
#[derive(Debug)]
pub(crate) struct Platform {
    record: Arc<InstanceRecord>,
    password: HeaderValue,
}

/// Serves them. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Serving {
    _stop: DropGuard,
    _task: AbortOnDropHandle<()>,
}

/// Serves `services`, whose full names are `names`.
///
/// # Errors
/// There is no socket, or no password.
pub(crate) async fn serve(services: Routes, names: &[&str]) -> Result<(Platform, Serving), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::Listen)?;
    let address = listener.local_addr().map_err(Error::Listen)?;
    let mut random = [0; PASSWORD_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::Random)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut password = HeaderValue::from_maybe_shared(text).map_err(|_| Error::Random)?;
    password.set_sensitive(true);
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(services, listener, password.clone(), stop.clone()));
    let record = InstanceRecord {
        service: crate::config::SERVICE.to_owned(),
        instance_id: "own-services".to_owned(),
        address: address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: String::new(),
        weight: InstanceRecord::default_weight(),
        grpc_services: names.iter().map(|name| (*name).to_owned()).collect(),
        labels: BTreeMap::new(),
        registered_unix_ms: 0,
    };
    let serving = Serving { _stop: stop.drop_guard(), _task: AbortOnDropHandle::new(task) };
    Ok((Platform { record: Arc::new(record), password }, serving))
}

async fn run(services: Routes, listener: TcpListener, password: HeaderValue, stop: CancellationToken) {
    let check = move |request: Request<()>| {
        let shown = request.metadata().get(PASSWORD.as_str()).map(|value| value.as_encoded_bytes());
        match shown.map(|shown| constant_time::verify_slices_are_equal(shown, password.as_bytes())) {
            Some(Ok(())) => Ok(request),
            _ => Err(Status::unauthenticated("this socket is the gateway's own: call its public port")),
        }
    };
    let server = Server::builder().layer(InterceptorLayer::new(check)).add_routes(services);
    let incoming = TcpListenerStream::new(listener);
    if let Err(error) = server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await {
        tracing::error!(%error, "the gateway's own services have ended");
    }
}

impl Platform {
    /// What discovery knows, and these. What others registered under such names is left out.
    pub(crate) fn add_to(&self, instances: &Instances) -> Instances {
        let others = instances.all().iter().map(|record| {
            if record.grpc_services.iter().any(|name| name.starts_with(PACKAGE)) {
                let mut record = InstanceRecord::clone(record);
                record.grpc_services.retain(|name| !name.starts_with(PACKAGE));
                Arc::new(record)
            } else {
                Arc::clone(record)
            }
        });
        Instances::new(others.chain([Arc::clone(&self.record)]))
    }

    /// Lets a request through to them when it is for them.
    pub(crate) fn unlock(&self, headers: &mut HeaderMap, rpc_path: &str) {
        if rpc_path.strip_prefix('/').is_some_and(|path| path.starts_with(PACKAGE)) {
            headers.insert(PASSWORD, self.password.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(address: &str, services: &[&str]) -> Arc<InstanceRecord> {
        Arc::new(InstanceRecord {
            service: "x".into(),
            instance_id: address.into(),
            address: address.into(),
            version: String::new(),
            zone: String::new(),
            weight: 100,
            grpc_services: services.iter().map(|name| (*name).to_owned()).collect(),
            labels: BTreeMap::new(),
            registered_unix_ms: 0,
        })
    }

    #[tokio::test]
    async fn nobody_else_can_take_their_name() {
        let (platform, _serving) = serve(Routes::default(), &["mcp.gateway.v1.KeyService"]).await.unwrap();
        let evil = record("evil:1", &["mcp.gateway.v1.KeyService", "acme.Books"]);
        let instances = platform.add_to(&Instances::new([evil]));
        let serving =
            |name| instances.by_grpc_service(name).iter().map(|record| record.address.clone()).collect::<Vec<_>>();
        assert_eq!(serving("mcp.gateway.v1.KeyService"), std::slice::from_ref(&platform.record.address));
        assert_eq!(serving("acme.Books"), ["evil:1"]);
        let mut headers = HeaderMap::new();
        platform.unlock(&mut headers, "/acme.Books/Get");
        assert!(headers.is_empty());
        platform.unlock(&mut headers, "/mcp.gateway.v1.KeyService/CreateKey");
        assert!(
            headers.contains_key(PASSWORD) && !format!("{headers:?}").contains(platform.password.to_str().unwrap())
        );
    }
}
