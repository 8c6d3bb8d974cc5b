//! What the callers of a load share: what counts, and whether to go on.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{task::JoinSet, time};

use super::{Report, Target};
use crate::process;

/// Latencies that are kept: more than the fastest proxy answers in the longest measurement. Later ones are not.
const LATENCIES_MAX: usize = 20_000_000;
/// How long callers may take for what they have under way at the end.
const LAST_MAX: Duration = Duration::from_secs(10);

/// The state of a load.
#[derive(Debug, Default)]
pub(super) struct Meter {
    is_measuring: Cell<bool>,
    is_over: Cell<bool>,
    latencies: RefCell<Vec<u32>>,
    done: Cell<u64>,
}

impl Meter {
    /// Whether callers shall stop.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Whether what happens now counts.
    pub(super) fn is_measuring(&self) -> bool {
        self.is_measuring.get()
    }

    /// Counts an answer.
    pub(super) fn record(&self, latency: Duration) {
        self.done.set(self.done.get() + 1);
        let mut latencies = self.latencies.borrow_mut();
        if latencies.len() < LATENCIES_MAX {
            latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Counts an answer that came just now, when answers count now.
    pub(super) fn answered(&self, since: Instant) {
        if self.is_measuring() {
            self.record(since.elapsed());
        }
    }

    /// Lets the callers run, measures, waits for their ends, and tells what was seen.
    ///
    /// # Errors
    /// The first failure of a caller, or that one ended too early or not at all.
    pub(super) async fn measure(
        self: Rc<Self>,
        target: &Target,
        mut callers: JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<Report> {
        still_running(&mut callers, target.warm_up).await?;
        let (start, before) = (Instant::now(), target.pid.map(process::cpu).transpose()?);
        self.is_measuring.set(true);
        still_running(&mut callers, target.time).await?;
        self.is_measuring.set(false);
        let (seconds, after) = (start.elapsed().as_secs_f64(), target.pid.map(process::cpu).transpose()?);
        self.is_over.set(true);
        let ends = async {
            while let Some(ended) = callers.join_next().await {
                ended.context("a caller panicked")??;
            }
            anyhow::Ok(())
        };
        time::timeout(LAST_MAX, ends).await.context("callers have no answer")??;
        let resident = target.pid.map(process::resident).transpose()?;
        let cpu = before.zip(after).map(|(before, after)| after - before);
        self.report(seconds, cpu, resident)
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn report(&self, seconds: f64, cpu: Option<Duration>, resident: Option<u64>) -> anyhow::Result<Report> {
        let mut latencies = self.latencies.take();
        ensure!(!latencies.is_empty(), "nothing was answered");
        latencies.sort_unstable();
        let at = |thousandths: usize| latencies[(latencies.len() - 1) * thousandths / 1000];
        let done = self.done.get();
        Ok(Report {
            done,
            seconds,
            per_second: done as f64 / seconds,
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: at(1000),
            cpu_per_100k: cpu.map(|cpu| cpu.as_secs_f64() * 1e5 / done as f64),
            resident_mib: resident.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        })
    }
}

/// Waits so long. None of the callers may end meanwhile.
async fn still_running(callers: &mut JoinSet<anyhow::Result<()>>, time: Duration) -> anyhow::Result<()> {
    match time::timeout(time, callers.join_next()).await {
        Err(_elapsed) => Ok(()),
        Ok(Some(ended)) => match ended.context("a caller panicked")? {
            Ok(()) => bail!("a caller ended too early"),
            Err(error) => Err(error),
        },
        Ok(None) => bail!("there are no callers"),
    }
}
