//! The longest time that a call may take, whatever its caller asks for.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    plan::{Plan, Site, Subject},
    service::LocalService,
};
use crate::{deadline, headers, routes::violations::Violations};

/// Longest timeout that can be set: a day.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Makes the caller's deadline an earlier one. It is kept where the answer is waited for, down to the instance.
#[derive(Debug)]
struct TimeoutPlan {
    timeout: Duration,
}

/// Plans `settings.timeout`.
pub(super) fn plan(subject: &Subject<'_>, wrong: &mut Violations) -> Vec<Arc<dyn Plan>> {
    let Some(timeout) = subject.settings.timeout else {
        return Vec::new();
    };
    let timeout = Duration::try_from(timeout).ok().filter(|timeout| !timeout.is_zero() && *timeout <= TIMEOUT_MAX);
    let timeout = timeout.ok_or_else(|| "must be longer than 0 and at most 24 h".to_owned());
    let plan = wrong.take("settings.timeout", timeout).map(|timeout| TimeoutPlan { timeout });
    plan.map(|plan| Arc::new(plan) as Arc<dyn Plan>).into_iter().collect()
}

impl Plan for TimeoutPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        let timeout = self.timeout;
        LocalService::of(move |mut exchange| {
            let (now, head) = (Instant::now(), exchange.request.headers_mut());
            let asked =
                if headers::is_grpc(head) { deadline::of_grpc(head, now) } else { deadline::of_http(head, now) };
            // A malformed one is refused where it is read.
            if let Ok(asked) = asked {
                let at = asked.map_or(now + timeout, |at| at.min(now + timeout));
                head.remove(deadline::X_TIMEOUT);
                head.insert(deadline::GRPC_TIMEOUT, deadline::remaining(at, now));
            }
            inner.answer(exchange)
        })
    }
}
