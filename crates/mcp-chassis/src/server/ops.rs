//! `/livez`, `/readyz`, `/startupz`, `/metrics`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{HeaderMap, StatusCode, header};

use super::Readiness;
use crate::metrics::{self, Format};

/// What the probes tell.
#[derive(Debug)]
pub(super) struct Probes {
    readiness: Readiness,
    started: AtomicBool,
    draining: AtomicBool,
}

impl Probes {
    pub(super) fn new(readiness: Readiness) -> Arc<Self> {
        Arc::new(Self { readiness, started: AtomicBool::new(false), draining: AtomicBool::new(false) })
    }

    /// The service has been ready once: it has started up.
    pub(super) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// The service stops: not ready from now on, whatever it says itself.
    pub(super) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.readiness.is_ready() && !self.draining.load(Ordering::Acquire)
    }
}

/// The routes of the probes and of the metrics.
pub(super) fn router(probes: Arc<Probes>) -> Router {
    Router::new()
        .route("/livez", get(|| async { probe(true, "alive", "") }))
        .route(
            "/readyz",
            get(|State(probes): State<Arc<Probes>>| async move { probe(probes.is_ready(), "ready", "not ready") }),
        )
        .route(
            "/startupz",
            get(|State(probes): State<Arc<Probes>>| async move {
                probe(probes.started.load(Ordering::Acquire), "started", "starting")
            }),
        )
        .route("/metrics", get(scrape))
        .with_state(probes)
}

/// The metrics, in the format that the scraper asks for.
async fn scrape(headers: HeaderMap) -> impl IntoResponse {
    let format = Format::accepted(headers.get(header::ACCEPT));
    ([(header::CONTENT_TYPE, format.content_type())], metrics::expose(format, &[], |_| {}))
}

fn probe(holds: bool, yes: &'static str, no: &'static str) -> impl IntoResponse {
    if holds { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
}
