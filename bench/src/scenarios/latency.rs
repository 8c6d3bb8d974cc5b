//! Time from submit to done at a given rate.

use std::time::{Duration, Instant};

use crate::{
    figure::Figure,
    load::{Done, no_op, start_worker, warm_up},
    system::{Setup, System},
};

/// Median and 99th percentile at `rate` submits a second.
pub(crate) async fn latency(setup: Setup, rate: u32) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(&setup)?;
    let _worker = start_worker(&system);
    let client = system.client()?;
    warm_up(&client).await?;
    let done = Done::watch(system.client()?, true).await?;
    let seconds = 5;
    let count = (rate * seconds) as usize;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut submits = Vec::with_capacity(count);
    for _ in 0..count {
        ticks.tick().await;
        let client = client.clone();
        let start = Instant::now();
        submits.push(tokio::spawn(async move { anyhow::Ok((client.submit(no_op()).await?.task_id, start)) }));
    }
    let mut starts = std::collections::HashMap::new();
    for submit in submits {
        let (id, start) = submit.await??;
        starts.insert(id, start);
    }
    done.reaches(count).await;
    let times = done.times.lock().expect("no holder panics");
    let mut waits: Vec<Duration> =
        times.iter().filter_map(|(id, end)| starts.get(id).map(|start| end.duration_since(*start))).collect();
    waits.sort_unstable();
    let at = |part: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the list")]
        let index = ((waits.len() - 1) as f64 * part) as usize;
        waits[index].as_secs_f64() * 1e3
    };
    let names =
        if rate == 200 { ["latency_200_p50", "latency_200_p99"] } else { ["latency_5000_p50", "latency_5000_p99"] };
    let conditions = format!("{rate}/s for {seconds} s, submit to the watcher's notice that it is durably done");
    Ok([(names[0], 0.5), (names[1], 0.99)]
        .map(|(name, part)| Figure { name, value: at(part), unit: "ms", conditions: conditions.clone() })
        .into())
}
