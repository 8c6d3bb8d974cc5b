//! The `main` of every service.

use std::{ffi::OsString, future::Future, io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use mcp_coord::{Coordinator, Etcd};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    health,
    settings::{self, Flags, ServiceConfig, to_toml},
    telemetry::{self, Identity},
};

/// Exit code for wrong flags and wrong settings (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// Exit code for everything else that fails.
const EXIT_FAILURE: u8 = 1;
/// Longest time that buffered telemetry may take to be sent at the end.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// Longest time that the runtime waits for blocking tasks at the very end.
const RUNTIME_STOP_MAX: Duration = Duration::from_secs(1);
/// Fewest worker threads: the OTLP exporter deadlocks with one.
const WORKERS_MIN: usize = 2;
/// Version of every service: they are built together.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a service is given to work with.
#[derive(Debug)]
pub struct Deps {
    /// Bound to `service.listen`.
    pub listener: TcpListener,
    /// The coordination service.
    pub coord: Arc<dyn Coordinator>,
    /// Cancelled by SIGTERM or SIGINT.
    pub stop: CancellationToken,
}

/// The whole `main` of a service: flags, settings, telemetry, runtime, signals, exit code.
///
/// `args` begins with the program's name. `run` is the service; it returns after an orderly stop. Nothing is opened
/// before the settings are known to be right, and the port is bound before `run` is called. A second signal ends the
/// process at once.
///
/// Exit codes: 0 stopped in order, 1 failed, 64 wrong flags or settings.
pub fn service_main<C, F, Fut>(service: &'static str, args: impl Iterator<Item = OsString>, run: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Deps) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let flags = match Flags::parse_for::<C>(service, VERSION, args) {
        Ok(flags) => flags,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(EXIT_FAILURE) };
        }
    };
    match prepare::<C>(service, &flags) {
        Ok(Some(config)) if flags.health => match health::ask(config.service().listen) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(service, &error, EXIT_FAILURE),
        },
        Ok(Some(config)) => start(service, config, run),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => complain(service, &error.into(), EXIT_USAGE),
    }
}

/// The settings, or `None` when the flags ask for less than a start.
fn prepare<C: ServiceConfig>(service: &str, flags: &Flags) -> Result<Option<C>, settings::Error> {
    let mut sources = flags.sources(service)?.environment(std::env::vars_os());
    let stays = !flags.check_config && !flags.print_config;
    if stays {
        // Registration and telemetry must agree on the name.
        sources = sources.generated("service.instance_id", crate::server::random_instance_id(service));
    }
    let config = sources.load::<C>()?;
    if flags.print_config {
        write_out(&to_toml(&config)?);
    }
    if flags.check_config && !flags.print_config {
        write_out("the settings are right\n");
    }
    Ok(stays.then_some(config))
}

fn start<C, F, Fut>(service: &'static str, config: C, run: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Deps) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let workers = std::thread::available_parallelism().map_or(WORKERS_MIN, |cores| cores.get().max(WORKERS_MIN));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(service, &error.into(), EXIT_FAILURE),
    };
    let result = runtime.block_on(supervise(service, config, run));
    runtime.shutdown_timeout(RUNTIME_STOP_MAX);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(service, &error, EXIT_FAILURE),
    }
}

async fn supervise<C, F, Fut>(service: &'static str, config: C, run: F) -> anyhow::Result<()>
where
    C: ServiceConfig,
    F: FnOnce(C, Deps) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let identity = Identity {
        service: service.to_owned(),
        version: VERSION.to_owned(),
        instance_id: config.service().instance_id.clone().unwrap_or_default(),
    };
    let telemetry = telemetry::init(&identity, config.telemetry())?;
    let result = serve(service, config, run).await;
    match &result {
        Ok(()) => tracing::info!("stopped"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "failed"),
    }
    if !telemetry.shutdown(FLUSH_MAX).await {
        tracing::warn!(limit = ?FLUSH_MAX, "some telemetry could not be sent");
    }
    result
}

async fn serve<C, F, Fut>(service: &'static str, config: C, run: F) -> anyhow::Result<()>
where
    C: ServiceConfig,
    F: FnOnce(C, Deps) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let mut signals = Signals::listen()?;
    let listen = config.service().listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| anyhow::Error::new(error).context(format!("`{listen}` cannot be listened on")))?;
    let coord: Arc<dyn Coordinator> = Arc::new(Etcd::connect(&config.coord().endpoints).await?);
    tracing::info!(service, version = VERSION, address = %listener.local_addr()?, "starting");
    let stop = CancellationToken::new();
    let deps = Deps { listener, coord, stop: stop.clone() };
    let mut running = std::pin::pin!(run(config, deps));
    tokio::select! {
        result = &mut running => return result,
        signal = signals.next() => tracing::info!(signal, "stopping"),
    }
    stop.cancel();
    tokio::select! {
        result = &mut running => result,
        signal = signals.next() => Err(anyhow::anyhow!("ended by a second signal ({signal})")),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn complain(service: &str, error: &anyhow::Error, code: u8) -> ExitCode {
    let mut text = format!("mcp-{service}: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    // Nobody can be told that standard error is closed.
    std::io::stderr().write_all(text.as_bytes()).unwrap_or_default();
    ExitCode::from(code)
}

fn write_out(text: &str) {
    // A reader that went away (`| head`) is not our failure.
    std::io::stdout().write_all(text.as_bytes()).unwrap_or_default();
}
