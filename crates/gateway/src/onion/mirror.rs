//! Copies of requests for another service, whose answers nobody sees.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use tokio::{sync::oneshot, time::timeout};

use super::{
    plan::{Plan, Site, Subject},
    service::LocalService,
    tee,
};
use crate::{
    body::inbound::Inbound,
    exchange::Exchange,
    routes::{
        action::{check_service, service_key},
        violations::Violations,
    },
};

/// Copies of one route that one data-plane thread has under way; beyond, requests are not copied.
const COPIES_MAX: usize = 256;
/// Longest time that a copy may take.
const COPY_TIME_MAX: Duration = Duration::from_secs(60);
/// Marks a copy.
const MARK: HeaderName = HeaderName::from_static("x-mcp-mirror");

/// Sends a share of the requests to another service too.
#[derive(Debug)]
struct MirrorPlan {
    service: Arc<str>,
    /// From 0 to 1.
    share: f64,
}

/// Plans `forward.mirror`.
pub(super) fn plan(subject: &Subject<'_>, wrong: &mut Violations) -> Vec<Arc<dyn Plan>> {
    let Some(mirror) = subject.mirror else {
        return Vec::new();
    };
    let percent = mirror.percent.unwrap_or(100.0);
    wrong.check(percent > 0.0 && percent <= 100.0, "forward.mirror.percent", "must be above 0 and at most 100");
    check_service(&mirror.service, "forward.mirror.service", wrong);
    vec![Arc::new(MirrorPlan { service: service_key(&mirror.service), share: percent / 100.0 })]
}

impl Plan for MirrorPlan {
    fn wrap(&self, inner: LocalService, site: &Site) -> LocalService {
        let (service, share, inside) = (Arc::clone(&self.service), self.share, site.inside.clone());
        let under_way = Rc::new(Cell::new(0));
        LocalService::of(move |mut exchange| {
            if under_way.get() < COPIES_MAX && (share >= 1.0 || rand::random::<f64>() < share) {
                let copy = copy(&mut exchange, &service);
                let (inside, counted) = (inside.clone(), Counted::new(&under_way));
                let (admitted, is_admitted) = oneshot::channel();
                exchange.context.admission = Some(Rc::new(RefCell::new(Some(admitted))));
                // Ends by itself in time, or with its thread.
                tokio::task::spawn_local(async move {
                    let _counted = counted;
                    let sent = async {
                        // What is refused is not copied.
                        if is_admitted.await.is_ok() {
                            send(inside, copy).await;
                        }
                    };
                    if timeout(COPY_TIME_MAX, sent).await.is_err() {
                        tracing::debug!("a copy took too long and was given up");
                    }
                });
            }
            inner.answer(exchange)
        })
    }
}

/// A copy of a request that goes to another service; the request's body is read by both.
fn copy(exchange: &mut Exchange, service: &Arc<str>) -> Exchange {
    let mut context = exchange.context.clone();
    (context.target, context.is_copy) = (Some(Arc::clone(service)), true);
    // The answer to its caller is what the request is counted by.
    context.identity = context.identity.apart();
    let body = if exchange.request.body().is_end_stream() {
        Inbound::made(Empty::new())
    } else {
        let body = std::mem::replace(exchange.request.body_mut(), Inbound::made(Empty::new()));
        let (read_on, copied) = tee::split(body);
        *exchange.request.body_mut() = Inbound::made(read_on);
        Inbound::made(copied)
    };
    let mut request = Request::new(body);
    request.method_mut().clone_from(exchange.request.method());
    request.uri_mut().clone_from(exchange.request.uri());
    *request.version_mut() = exchange.request.version();
    request.headers_mut().clone_from(exchange.request.headers());
    request.headers_mut().insert(MARK, HeaderValue::from_static("1"));
    Exchange { request, context }
}

/// Sends a copy and reads its answer to the end, so that the other service may finish.
async fn send(inside: LocalService, copy: Exchange) {
    if let Ok(response) = inside.answer(copy).await {
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
    }
}

/// One more under way, until dropped.
#[derive(Debug)]
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
