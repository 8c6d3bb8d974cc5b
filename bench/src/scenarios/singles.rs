//! Single submits a second.

use std::time::Instant;

use crate::{
    figure::Figure,
    load::{Done, no_op, per_second, start_worker, warm_up},
    system::{Setup, System},
};

/// Tasks, and how many submits are under way at once.
const SINGLES: usize = 40_000;
const SINGLES_IN_FLIGHT: usize = 64;

/// Submits, and tasks done, a second.
pub(crate) async fn singles(setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(&setup)?;
    let _worker = start_worker(&system);
    let client = system.client()?;
    warm_up(&client).await?;
    let done = Done::watch(system.client()?, false).await?;
    let start = Instant::now();
    let submitters: Vec<_> = (0..SINGLES_IN_FLIGHT)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..SINGLES / SINGLES_IN_FLIGHT {
                    client.submit(no_op()).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await??;
    }
    let submitted = per_second(SINGLES, start.elapsed());
    done.reaches(SINGLES).await;
    let ended = per_second(SINGLES, start.elapsed());
    let conditions = format!("{SINGLES} no-op tasks, single submits, {SINGLES_IN_FLIGHT} in flight on one connection");
    Ok(vec![
        Figure { name: "submit_single_fjall", value: submitted, unit: "1/s", conditions: conditions.clone() },
        Figure { name: "e2e_single_fjall", value: ended, unit: "1/s", conditions: conditions + ", submit to done" },
    ])
}
