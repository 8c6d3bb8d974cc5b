//! Smaller answers for callers that accept gzip, by tower-http.

use std::sync::Arc;

use tower_http::compression::{
    CompressionLayer,
    predicate::{NotForContentType, Predicate, SizeAbove},
};

use super::{
    plain,
    plan::{Plan, Site, Subject, When},
    service::LocalService,
};
use crate::routes::{predicate::Condition, violations::Violations};

/// Smallest body that is compressed unless the settings say otherwise, in bytes.
const BYTES_MIN: u32 = 1_024;

/// Compresses answers that are worth it. What comes bit by bit is not: the caller would get it late.
#[derive(Debug)]
struct CompressionPlan {
    bytes_min: u32,
}

/// Plans `settings.compression`.
pub(super) fn plan(subject: &Subject<'_>, wrong: &mut Violations) -> Vec<Arc<dyn Plan>> {
    let Some(compression) = &subject.settings.compression else {
        return Vec::new();
    };
    let bytes_min = if compression.bytes_min == 0 { BYTES_MIN } else { compression.bytes_min };
    let when = Condition::compile_any(compression.when.as_ref(), "settings.compression.when", wrong);
    vec![When::wrap(when, Arc::new(CompressionPlan { bytes_min }))]
}

impl Plan for CompressionPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        let worth_it = SizeAbove::new(self.bytes_min.into())
            .and(NotForContentType::GRPC)
            .and(NotForContentType::IMAGES)
            .and(NotForContentType::SSE)
            .and(NotForContentType::const_new("application/x-ndjson"));
        plain::wrap(&CompressionLayer::new().gzip(true).compress_when(worth_it), inner, plain::made)
    }
}
