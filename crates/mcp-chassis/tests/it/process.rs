//! A whole service as a process of its own: flags, settings, signals, exit codes, logs, traces.
//!
//! The process is this test binary, which is told by a variable to be a service.

use std::{ffi::OsString, process::Command, sync::Arc};

use mcp_chassis::{CoordSettings, Server, ServiceConfig, ServiceSettings, TelemetrySettings, service_main, settings};
use mcp_proto::registry::v1::{
    RegisterRequest, registry_service_client::RegistryServiceClient, registry_service_server::RegistryServiceServer,
};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use testkit::{Process, eventually, otlp::OtlpReceiver};

use crate::support::{LIMIT, Probe, Service};

/// Tells this binary to be a service; holds its arguments, separated by line breaks.
const ARGUMENTS: &str = "CHASSIS_TEST_ARGUMENTS";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    service: ServiceSettings,
    coord: CoordSettings,
    telemetry: TelemetrySettings,
}

impl ServiceConfig for Config {
    fn service(&self) -> &ServiceSettings {
        &self.service
    }

    fn coord(&self) -> &CoordSettings {
        &self.coord
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }

    fn validate(&self) -> Result<(), settings::Error> {
        Ok(())
    }
}

/// Not a test: the service, when this binary was started to be one.
#[test]
fn the_service_itself() {
    let Some(arguments) = std::env::var_os(ARGUMENTS) else { return };
    let arguments = arguments.into_string().unwrap();
    let args = std::iter::once("mcp-probe").chain(arguments.lines()).map(OsString::from);
    let code = service_main::<Config, _, _>("probe", args, |config, deps| async move {
        let service = RegistryServiceServer::new(Service(Arc::new(Probe::default())));
        let server = Server::new("probe", "1.2.3", config.service(), &config.coord().cluster).grpc(service);
        Ok(server.serve(deps.listener, deps.coord, deps.stop).await?)
    });
    // `ExitCode` does not tell its number; of those that `service_main` uses, its debug form does.
    let text = format!("{code:?}");
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    std::process::exit(number.parse().unwrap());
}

fn spawn(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process::the_service_itself", "--nocapture"]);
    command.env(ARGUMENTS, arguments.join("\n"));
    command.envs(environment.iter().copied());
    Process::spawn("mcp-probe", command)
}

/// How a process that does not stay ends, and what it said.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut process = spawn(arguments, environment);
    let status = process.ended(LIMIT).await;
    (status.code().unwrap_or_else(|| panic!("ended by a signal:\n{}", process.output())), process.output())
}

fn json_lines(process: &Process) -> Vec<Value> {
    process.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn a_wrong_setting_stops_the_start_with_64_and_names_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probe.toml");
    std::fs::write(&file, "[service]\nlisten_on = '127.0.0.1:0'\n").unwrap();
    let file = file.to_str().unwrap();
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 5] = [
        (&["--config", file], &[], "setting `service.listen_on` from file `"),
        (
            &[],
            &[("MCP_PROBE__SERVICE__LISTN", "x")],
            "`service.listn` from environment variable `MCP_PROBE__SERVICE__LISTN`",
        ),
        (&["--set", "service.weight=heavy"], &[], "`service.weight` from flag `--set service.weight=heavy`"),
        (&["--config", "/nowhere.toml"], &[], "  because: "),
        (&["--frobnicate"], &[], "unexpected argument '--frobnicate'"),
    ];
    for (arguments, environment, expected) in cases {
        let (code, output) = run(arguments, environment).await;
        assert_eq!(code, 64, "{arguments:?} {environment:?}:\n{output}");
        assert!(output.contains(expected), "{arguments:?} {environment:?}:\n{output}");
    }
}

#[tokio::test]
async fn settings_can_be_checked_and_printed_without_a_start() {
    let zone = &[("MCP_PROBE__SERVICE__ZONE", "z1")];
    let (code, output) = run(&["--print-config"], zone).await;
    assert!(code == 0 && output.contains("zone = \"z1\""), "{output}");
    let (code, output) = run(&["--check-config"], zone).await;
    assert!(code == 0 && output.contains("the settings are right"), "{output}");
    for (flag, expected) in
        [("--help", "MCP_PROBE__SERVICE__LISTEN"), ("--version", concat!("mcp-probe ", env!("CARGO_PKG_VERSION")))]
    {
        let (code, output) = run(&[flag], &[]).await;
        assert!(code == 0 && output.contains(expected), "{output}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_failure() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, output) = run(&["--listen", &address], &[]).await;
    assert!(code == 1 && output.contains(&format!("`{address}` cannot be listened on")), "{output}");
}

#[tokio::test]
async fn a_service_sends_its_traces_logs_their_ids_and_stops_on_a_signal() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "SIGINT")] {
        let receiver = OtlpReceiver::start().await;
        let mut process = spawn(
            &["--listen", "127.0.0.1:0"],
            &[
                ("MCP_PROBE__TELEMETRY__OTLP_ENDPOINT", receiver.endpoint()),
                // Nobody is there: a service serves all the same.
                ("MCP_PROBE__COORD__ENDPOINTS", "http://127.0.0.1:1"),
            ],
        );
        let line: Value = serde_json::from_str(&process.line_with("\"serving\"", LIMIT).await).unwrap();
        let url = format!("http://{}", line["fields"]["local"].as_str().unwrap());
        let mut client = RegistryServiceClient::connect(url).await.unwrap();
        let mut request = tonic::Request::new(RegisterRequest::default());
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        client.register(request).await.unwrap();

        // SIGTERM: the span must be flushed by the shutdown, long before any schedule.
        process.signal(signal);
        assert_eq!(process.ended(LIMIT).await.code(), Some(0), "{}", process.output());
        let spans = receiver.spans();
        let span = spans.iter().find(|span| span.name == "mcp.registry.v1.RegistryService/Register");
        let span = span.unwrap_or_else(|| panic!("not among {spans:?}"));
        assert_eq!(span.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.parent_span_id, "b7ad6b7169203331");
        assert_eq!((span.service.as_str(), span.attributes["rpc.method"].as_str()), ("probe", "Register"));
        assert_eq!(span.attributes["rpc.grpc.status_code"], "0");
        assert!(spans.iter().all(|span| span.trace_id == "0af7651916cd43dd8448eb211c80319c"), "{spans:?}");
        assert!(receiver.metric_names().contains("rpc.server.call.duration"));

        let lines = json_lines(&process);
        let line = lines.iter().find(|line| line["message"] == "registering").expect("the handler's line");
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((line["span_id"].as_str(), line["service"].as_str()), (Some(&*span.span_id), Some("probe")));
        let sent = receiver.lines();
        let line = sent.iter().find(|line| line.message == "registering").unwrap_or_else(|| panic!("not in {sent:?}"));
        assert_eq!((&*line.trace_id, &*line.span_id), ("0af7651916cd43dd8448eb211c80319c", &*span.span_id));
        assert_eq!((&*line.severity, &*line.service), ("INFO", "probe"));
        assert!(lines.iter().any(|line| line["fields"]["signal"] == name), "{}", process.output());
    }
}

#[tokio::test]
async fn a_traced_process_does_not_trace_its_exporter() {
    let receiver = OtlpReceiver::start().await;
    let environment = [
        ("MCP_PROBE__TELEMETRY__OTLP_ENDPOINT", receiver.endpoint()),
        ("MCP_PROBE__COORD__ENDPOINTS", "http://127.0.0.1:1"),
    ];
    let mut process = spawn(&["--listen", "127.0.0.1:0"], &environment);
    let line: Value = serde_json::from_str(&process.line_with("\"serving\"", LIMIT).await).unwrap();
    let url = format!("http://{}", line["fields"]["local"].as_str().unwrap());
    let mut client = RegistryServiceClient::connect(url).await.unwrap();
    client.register(RegisterRequest::default()).await.unwrap();
    eventually(LIMIT, || async { if receiver.spans().is_empty() { Err("no span yet".to_owned()) } else { Ok(()) } })
        .await;
    process.signal(Signal::SIGTERM);
    process.ended(LIMIT).await;
    let names: Vec<_> = receiver.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["mcp.registry.v1.RegistryService/Register"]);
}

#[tokio::test]
async fn a_health_check_asks_the_running_service() {
    let mut process = spawn(&["--listen", "127.0.0.1:0"], &[]);
    process.line_with("\"starting\"", LIMIT).await;
    let lines = json_lines(&process);
    let address = lines
        .iter()
        .find_map(|line| line["fields"]["address"].as_str())
        .expect("the start names the address")
        .to_owned();
    eventually(LIMIT, || async {
        match run(&["--health", "--listen", &address], &[]).await {
            (0, _) => Ok(()),
            (code, output) => Err(format!("{code}: {output}")),
        }
    })
    .await;
    process.kill();
    let (code, output) = run(&["--health", "--listen", &address], &[]).await;
    assert!(code == 1 && output.contains("does not answer"), "{code}: {output}");
}
