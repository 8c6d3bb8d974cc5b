//! What the system does when there is nothing to do.

use std::time::Duration;

use crate::{
    figure::Figure,
    load::warm_up,
    system::{Setup, System},
};

/// How long it is left alone before and during the measurement.
const SETTLE: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(30);

/// Processor time and store commits while nothing happens, after a first task.
pub(crate) async fn idle(setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(&setup)?;
    let _worker = crate::load::start_worker(&system);
    warm_up(&system.client()?).await?;
    tokio::time::sleep(SETTLE).await;
    let (cpu, written, commits) = (system.cpu()?, system.written()?, system.commits().await?);
    tokio::time::sleep(QUIET).await;
    let cpu = (system.cpu()? - cpu).as_secs_f64() / QUIET.as_secs_f64() * 100.0;
    let written = system.written()? - written;
    let per_minute = (system.commits().await? - commits) * 60.0 / QUIET.as_secs_f64();
    let conditions = format!("{QUIET:?} with a worker connected and no task, all services in one process");
    Ok(vec![
        Figure { name: "idle_cpu", value: cpu, unit: "%", conditions: conditions.clone() },
        Figure {
            name: "idle_store_writes",
            value: per_minute,
            unit: "1/min",
            conditions: format!("{conditions}; {written} bytes written to disk by the process"),
        },
    ])
}
