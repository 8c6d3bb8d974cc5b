//! The figures of the gateway alone. What it is compared with is measured by `bench/peers/gateway`, with the same loads.

use std::{
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    load::{self, Idle, Report, Target},
    process,
    propagation::{self, propagation},
    routes,
    system::System,
};

/// The loads, as in the comparison: connections, calls or streams on each, and calls a second where a rate is given.
pub const UNARY: (usize, usize) = (8, 8);
/// Connections and calls a second.
pub const PACED: (usize, u32) = (4, 5_000);
/// Connections and streams in all.
pub const STREAMS: (usize, usize) = (4, 64);
/// Connections of HTTP/1.1.
pub const JSON: usize = 64;

/// Routes of the two gateways whose speed is compared.
const ROUTES: (usize, usize) = (10, 10_000);
/// Turns of that comparison, and how long one is: short ones, so that what else the machine does hits both alike.
const TURNS: usize = 15;
const TURN: Duration = Duration::from_secs(1);
/// Routes of a large installation.
const ROUTES_LARGE: usize = 5_000;
/// Changes whose time is taken.
const CHANGES: usize = 500;
/// Connections that do nothing.
const IDLE: usize = 10_000;
/// How long a gateway is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(2);

/// One measured number.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it holds for.
    pub conditions: String,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24} {:>12.2} {:<6} {}", self.name, self.value, self.unit, self.conditions)
    }
}

/// What is measured together, by the names of its figures.
pub const ALL: &[&[&str]] = &[
    &["proxy_unary", "proxy_unary_direct", "proxy_cpu"],
    &["proxy_p50_added", "proxy_p50", "proxy_p99"],
    &["proxy_stream_msgs", "proxy_stream_msgs_direct", "proxy_stream_cpu"],
    &["transcode", "transcode_cpu"],
    &["routes_10k_ratio"],
    &["route_propagation"],
    &["idle_10k_connections"],
    &["rss_5k_routes"],
];

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// `mcp` or `mcp-gateway`.
    pub program: &'a Path,
    /// How long a load runs before it counts.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
}

impl<'a> Plan<'a> {
    /// As `make bench` measures.
    pub fn of(program: &'a Path) -> Self {
        Self { program, warm_up: Duration::from_secs(1), time: Duration::from_secs(5) }
    }

    fn gateway(&self, system: &System) -> Target {
        Target { address: system.address(), pid: Some(system.pid()), warm_up: self.warm_up, time: self.time }
    }

    fn direct(&self, system: &System) -> Target {
        let backend = system.backend();
        Target { address: backend.address, pid: Some(backend.pid()), ..self.gateway(system) }
    }
}

/// Measures the figures of one entry of [`ALL`], by the name of its first.
///
/// # Errors
/// When a call fails, or the system does not start.
pub async fn measure(first: &str, plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    match first {
        "proxy_unary" => unary(plan).await,
        "proxy_p50_added" => added(plan).await,
        "proxy_stream_msgs" => messages(plan).await,
        "transcode" => transcode(plan).await,
        "routes_10k_ratio" => many_routes(plan).await,
        "route_propagation" => changes(plan).await,
        "idle_10k_connections" => idle(plan).await,
        "rss_5k_routes" => memory_of_routes(plan).await,
        other => bail!("there is no figure {other}"),
    }
}

fn rate(name: &'static str, report: &Report, conditions: &str) -> Figure {
    let conditions = format!("{conditions}; p50 {} us, p99 {} us", report.p50, report.p99);
    Figure { name, value: report.per_second, unit: "1/s", conditions }
}

fn cpu(name: &'static str, report: &Report, conditions: &str) -> anyhow::Result<Figure> {
    let value = report.cpu_per_100k.context("the process is known")?;
    Ok(Figure {
        name,
        value,
        unit: "s",
        conditions: format!("processor time of the gateway for 100,000: {conditions}"),
    })
}

async fn unary(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(plan.program).await?;
    let direct = load::unary(plan.direct(&system), UNARY.0, UNARY.1).await?;
    let ours = load::unary(plan.gateway(&system), UNARY.0, UNARY.1).await?;
    let conditions = format!("unary gRPC of 100 B, {} connections x {} streams", UNARY.0, UNARY.1);
    Ok(vec![
        rate("proxy_unary", &ours, &conditions),
        rate("proxy_unary_direct", &direct, &format!("{conditions}, without a proxy")),
        cpu("proxy_cpu", &ours, &conditions)?,
    ])
}

async fn added(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(plan.program).await?;
    let direct = load::paced(plan.direct(&system), PACED.0, PACED.1).await?;
    let ours = load::paced(plan.gateway(&system), PACED.0, PACED.1).await?;
    let conditions = format!("unary gRPC of 100 B at {}/s, open loop, {} connections", PACED.1, PACED.0);
    let figure = |name, value: f64| Figure { name, value, unit: "us", conditions: conditions.clone() };
    Ok(vec![
        figure("proxy_p50_added", f64::from(ours.p50) - f64::from(direct.p50)),
        figure("proxy_p50", f64::from(ours.p50)),
        figure("proxy_p99", f64::from(ours.p99)),
    ])
}

async fn messages(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(plan.program).await?;
    let direct = load::streams(plan.direct(&system), STREAMS.0, STREAMS.1).await?;
    let ours = load::streams(plan.gateway(&system), STREAMS.0, STREAMS.1).await?;
    let conditions =
        format!("messages of 100 B there and back, {} streams x 1 under way, {} connections", STREAMS.1, STREAMS.0);
    Ok(vec![
        rate("proxy_stream_msgs", &ours, &conditions),
        rate("proxy_stream_msgs_direct", &direct, &format!("{conditions}, without a proxy")),
        cpu("proxy_stream_cpu", &ours, &conditions)?,
    ])
}

async fn transcode(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(plan.program).await?;
    let ours = load::json(plan.gateway(&system), JSON).await?;
    let conditions = format!("POST of JSON with 100 B in base64 over {JSON} connections of HTTP/1.1 to unary gRPC");
    Ok(vec![rate("transcode", &ours, &conditions), cpu("transcode_cpu", &ours, &conditions)?])
}

/// Two gateways, measured by turns.
async fn many_routes(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let (few, many) = (System::start(plan.program).await?, System::start(plan.program).await?);
    routes::write(&few.url(), ROUTES.0).await?;
    routes::write(&many.url(), ROUTES.1).await?;
    let plan = Plan { time: TURN, ..*plan };
    let (mut with_few, mut with_many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Whoever comes second finds a warmer machine, so they take turns in that too.
        let order = if turn % 2 == 0 { [&few, &many] } else { [&many, &few] };
        let first = load::unary(plan.gateway(order[0]), UNARY.0, UNARY.1).await?.per_second;
        let second = load::unary(plan.gateway(order[1]), UNARY.0, UNARY.1).await?.per_second;
        let (few, many) = if turn % 2 == 0 { (first, second) } else { (second, first) };
        with_few.push(few);
        with_many.push(many);
        ratios.push(many / few);
    }
    let (few, many) = (median(with_few), median(with_many));
    let conditions = format!(
        "unary gRPC, {} x {}, with {} routes / {}: {many:.0}/s / {few:.0}/s; median of the ratios of {TURNS} pairs of turns \
         of {TURN:?}",
        UNARY.0, UNARY.1, ROUTES.1, ROUTES.0
    );
    Ok(vec![Figure { name: "routes_10k_ratio", value: median(ratios), unit: "", conditions }])
}

async fn changes(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(plan.program).await?;
    let mut took = propagation(&system, CHANGES).await?;
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let conditions = format!(
        "p99 of {CHANGES} changes of a route, from the request to the gateway until all of {} connections with a call each \
         {:?} have seen it; p50 {:.2} ms, longest {:.2} ms",
        propagation::CONNECTIONS,
        propagation::INTERVAL,
        at(50),
        at(100)
    );
    Ok(vec![Figure { name: "route_propagation", value: at(99), unit: "ms", conditions }])
}

async fn idle(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(plan.program).await?;
    sleep(SETTLE).await;
    let before = mib(process::resident(system.pid())?);
    let start = Instant::now();
    let idle = Idle::open(system.address(), IDLE).await?;
    let opened = start.elapsed();
    sleep(SETTLE).await;
    anyhow::ensure!(idle.count() == IDLE, "only {} of {IDLE} connections are still open", idle.count());
    let value = mib(process::resident(system.pid())?);
    let conditions = format!(
        "{IDLE} connections of HTTP/2 that made one call each and then nothing; {before:.0} MiB without them, \
         opened within {:.1} s",
        opened.as_secs_f64()
    );
    Ok(vec![Figure { name: "idle_10k_connections", value, unit: "MiB", conditions }])
}

async fn memory_of_routes(plan: &Plan<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut system = System::start(plan.program).await?;
    sleep(SETTLE).await;
    let before = mib(process::resident(system.pid())?);
    routes::write(&system.url(), ROUTES_LARGE).await?;
    let short = Target { time: Duration::from_secs(1), ..plan.gateway(&system) };
    load::unary(short, UNARY.0, UNARY.1).await?;
    sleep(SETTLE).await;
    let value = mib(process::resident(system.pid())?);
    system.restart().await?;
    sleep(SETTLE).await;
    let restarted = mib(process::resident(system.pid())?);
    let conditions = format!(
        "after writing {ROUTES_LARGE} routes one by one through the gateway, and calls; {before:.0} MiB before, \
         {restarted:.0} MiB after a restart with them"
    );
    Ok(vec![Figure { name: "rss_5k_routes", value, unit: "MiB", conditions }])
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
