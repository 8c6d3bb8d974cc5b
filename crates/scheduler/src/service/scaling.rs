//! How many workers a queue needs, for autoscalers.

use std::time::Duration;

use mcp_engine::QueueKey;
use mcp_proto::scheduler::v1::{GetQueueScalingRequest, GetQueueScalingResponse, QueueRules};
use tonic::{Response, Status};

use super::queues::Queues;
use crate::{
    routing::{Caller, Repeat},
    shell::QueueLoad,
    validate::{self, ScalingTarget},
};

impl Queues {
    /// The signal, at the owner of the queue.
    pub(super) async fn scaling(
        &self,
        caller: &Caller,
        request: GetQueueScalingRequest,
    ) -> Result<Response<GetQueueScalingResponse>, Status> {
        let (queue, target): (QueueKey, ScalingTarget) = validate::queue_scaling(&request)?;
        self.deps
            .routes
            .unary(
                self.partition_of(&queue),
                caller,
                request,
                Repeat::Allowed,
                |home, _| {
                    let queue = queue.clone();
                    async move { Ok(signal(&home.queue_load(queue).await?, target)) }
                },
                |peer, request| async move { peer.queues().get_queue_scaling(request).await },
            )
            .await
    }
}

#[expect(clippy::cast_precision_loss, reason = "the numbers of the wire are floating")]
fn signal(load: &QueueLoad, target: ScalingTarget) -> GetQueueScalingResponse {
    let QueueLoad { info, serving, start_rate, run_seconds } = load;
    let age = info.stats.oldest_due.map_or(0, |due| info.now.saturating_sub(due));
    let slots_per_worker = match (target.slots_per_worker, serving.workers) {
        (0, 0) => 1.0,
        (0, workers) => (serving.slots as f64 / workers as f64).max(1.0),
        (slots, _) => f64::from(slots),
    };
    let is_paused = info.stats.paused;
    let demand = Demand {
        waiting: if is_paused { 0.0 } else { info.stats.waiting as f64 },
        running: info.stats.running as f64,
        run_seconds: *run_seconds,
        target_seconds: target.wait.as_secs_f64(),
    };
    let slots = demand.slots(&info.settings.rules.clone().unwrap_or_default());
    GetQueueScalingResponse {
        queue_depth: info.stats.waiting as f64,
        running: info.stats.running as f64,
        oldest_age_seconds: Duration::from_millis(age).as_secs_f64(),
        start_rate: *start_rate,
        run_seconds: *run_seconds,
        needed_workers: (slots / slots_per_worker).ceil(),
        workers: serving.workers as f64,
    }
}

/// What a queue has to do.
#[derive(Debug, Clone, Copy)]
struct Demand {
    /// Tasks that are due.
    waiting: f64,
    /// Tasks that run.
    running: f64,
    /// How long one runs; 0 when that is not known.
    run_seconds: f64,
    /// How soon what waits is to be started; above 0.
    target_seconds: f64,
}

impl Demand {
    /// Slots for what runs and for what waits. In the time until all of it is to be started a slot starts one task, and
    /// another one each time a task ends; of tasks whose length is not known, each takes a slot of its own.
    fn slots(self, rules: &QueueRules) -> f64 {
        let Self { waiting, running, run_seconds, target_seconds } = self;
        let startable =
            rules.rate.map_or(f64::INFINITY, |rate| rate.per_second.mul_add(target_seconds, f64::from(rate.burst)));
        let starts_per_slot = if run_seconds > 0.0 { (target_seconds / run_seconds).max(1.0) } else { 1.0 };
        let slots = running + (waiting.min(startable) / starts_per_slot).ceil();
        match rules.concurrency_max {
            0 => slots,
            // What runs beyond a limit that was lowered still needs its slots.
            limit => slots.min(f64::from(limit).max(running)),
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::Rate;

    use super::*;

    #[test]
    fn slots_follow_depth_length_and_limits() {
        let rate = |per_second, burst| Some(Rate { per_second, burst });
        let rules = |concurrency_max, rate| QueueRules { concurrency_max, rate, ..QueueRules::default() };
        for (waiting, running, run_seconds, rules, slots) in [
            (0.0, 0.0, 0.0, rules(0, None), 0.0),
            (0.0, 3.0, 0.0, rules(0, None), 3.0),
            (100.0, 0.0, 0.0, rules(0, None), 100.0), // their length is not known
            (100.0, 0.0, 60.0, rules(0, None), 100.0), // longer than the target
            (100.0, 4.0, 3.0, rules(0, None), 14.0),  // each slot starts ten
            (101.0, 4.0, 3.0, rules(0, None), 15.0),
            (1.0, 0.0, 0.001, rules(0, None), 1.0), // never nothing while something waits
            (100.0, 4.0, 3.0, rules(6, None), 6.0),
            (100.0, 9.0, 3.0, rules(6, None), 9.0),
            (1_000.0, 0.0, 0.0, rules(0, rate(1.0, 5)), 35.0), // no more may start within the target
        ] {
            let demand = Demand { waiting, running, run_seconds, target_seconds: 30.0 };
            assert_eq!(demand.slots(&rules), slots, "{demand:?}");
        }
    }
}
