//! Many waiting tasks: what they take, and how long a start with them takes.

use std::time::Instant;

use crate::{
    figure::Figure,
    load::{submit_all, waiting},
    system::{Setup, System},
};

/// Tasks that wait before and after the measured growth.
const WAITING: usize = 500_000;

/// Resident memory for each waiting task, and the time until a restarted system takes a task again.
pub(crate) async fn waiting_tasks(setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let mut system = System::start(&setup)?;
    let client = system.client()?;
    // Caches and pools of the store and the allocator fill up first, so that the difference is the tasks alone.
    submit_all(&client, WAITING, waiting).await?;
    let before = system.resident()?;
    submit_all(&client, WAITING, waiting).await?;
    let after = system.resident()?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let value = after.saturating_sub(before) as f64 / WAITING as f64;
    let conditions = format!(
        "growth of resident memory from {WAITING} to {} delayed tasks of 1 KiB; {} MiB in the end",
        2 * WAITING,
        after >> 20
    );
    let memory = Figure { name: "memory_per_waiting_task", value, unit: "B", conditions };

    system.kill();
    let start = Instant::now();
    system.start_again(&setup)?;
    // Which task it takes does not matter: it takes none before it has read the others.
    system.client()?.submit(waiting()).await?;
    let conditions =
        format!("start after SIGKILL with {} delayed tasks of 1 KiB, until a submit is durable", 2 * WAITING);
    let recovery = Figure { name: "recovery_million", value: start.elapsed().as_secs_f64(), unit: "s", conditions };
    Ok(vec![memory, recovery])
}
