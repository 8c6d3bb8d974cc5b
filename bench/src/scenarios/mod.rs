//! The measurements.

mod batches;
mod codec;
mod engine;
mod frames;
pub(crate) mod gateway;
mod idle;
mod latency;
mod singles;
mod takeover;
mod waiting;

use std::{future::Future, path::Path, pin::Pin};

use crate::{
    figure::Figure,
    system::{Setup, StoreKind},
};

type Figures = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Figure>>>>>;

/// A measurement.
pub(crate) struct Scenario {
    /// The figures it gives.
    pub(crate) figures: &'static [&'static str],
    store: StoreKind,
    run: fn(Setup) -> Figures,
}

impl Scenario {
    /// Runs it once, on systems of its own.
    pub(crate) async fn run(&self, program: &Path) -> anyhow::Result<Vec<Figure>> {
        (self.run)(Setup::new(program, self.store)?).await
    }
}

const fn on_fjall(figures: &'static [&'static str], run: fn(Setup) -> Figures) -> Scenario {
    Scenario { figures, store: StoreKind::Fjall, run }
}

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    on_fjall(&["engine_tasks"], |_| Box::pin(engine::tasks())),
    on_fjall(codec::FIGURES, |_| Box::pin(codec::frames())),
    on_fjall(&["e2e_batch_fjall"], |setup| Box::pin(batches::batches("e2e_batch_fjall", setup))),
    Scenario {
        figures: &["e2e_batch_postgres"],
        store: StoreKind::Postgres,
        run: |setup| Box::pin(batches::batches("e2e_batch_postgres", setup)),
    },
    on_fjall(&["submit_single_fjall", "e2e_single_fjall"], |setup| Box::pin(singles::singles(setup))),
    on_fjall(&["latency_200_p50", "latency_200_p99"], |setup| Box::pin(latency::latency(setup, 200))),
    on_fjall(&["latency_5000_p50", "latency_5000_p99"], |setup| Box::pin(latency::latency(setup, 5_000))),
    on_fjall(&["memory_per_waiting_task", "recovery_million"], |setup| Box::pin(waiting::waiting_tasks(setup))),
    on_fjall(&["backlog_ratio"], |setup| Box::pin(batches::backlog(setup))),
    Scenario {
        figures: &["takeover", "takeover_p99"],
        store: StoreKind::Postgres,
        run: |setup| Box::pin(takeover::takeover(setup)),
    },
    on_fjall(&["frame_calls_vs_grpc"], |setup| Box::pin(frames::calls(setup))),
    on_fjall(&["frame_idle_session"], |setup| Box::pin(frames::idle_sessions(setup))),
    on_fjall(&["idle_cpu", "idle_store_writes"], |setup| Box::pin(idle::idle(setup))),
];
