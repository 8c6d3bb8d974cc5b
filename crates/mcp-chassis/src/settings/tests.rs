use std::{collections::BTreeMap, ffi::OsString, fs, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    service: ServiceSettings,
    coord: CoordSettings,
    telemetry: TelemetrySettings,
    demo: Demo,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Demo {
    slots: u16,
    ratio: f64,
    is_on: bool,
    #[serde(with = "humantime_serde")]
    pause: Duration,
    queues: Vec<String>,
    limit: Option<u64>,
    limits: BTreeMap<String, u32>,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            slots: 4,
            ratio: 0.5,
            is_on: false,
            pause: Duration::from_secs(1),
            queues: Vec::new(),
            limit: None,
            limits: BTreeMap::new(),
        }
    }
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

    fn validate(&self) -> Result<(), Error> {
        if self.demo.slots == 0 { Err(Error::invalid("demo.slots", "0 is too few")) } else { Ok(()) }
    }
}

/// The three layers that people write, as they write them.
#[derive(Debug, Default, Clone, Copy)]
struct Written<'a> {
    toml: &'a str,
    yaml: &'a str,
    environment: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

const NOTHING: Written<'static> = Written { toml: "", yaml: "", environment: &[], flags: &[] };

fn load(written: Written<'_>) -> Result<Config, Error> {
    let folder = tempfile::tempdir().unwrap();
    let mut args: Vec<OsString> = vec!["mcp-demo".into()];
    args.extend(written.flags.iter().map(Into::into));
    for (name, text) in [("demo.toml", written.toml), ("demo.yaml", written.yaml)] {
        if !text.is_empty() {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            args.extend(["--config".into(), path.into()]);
        }
    }
    let flags = Flags::parse_for::<Config>("demo", "0.0.0", args.into_iter()).unwrap();
    let environment = written.environment.iter().map(|&(name, value)| (name.into(), value.into()));
    flags.sources("demo")?.environment(environment).load()
}

/// The error with its causes, as the person sees it.
fn refusal(written: Written<'_>) -> String {
    let error = load(written).expect_err(&format!("{written:?} was taken"));
    format!("{:#}", anyhow::Error::new(error))
}

#[test]
fn without_layers_the_defaults_hold() {
    assert_eq!(load(NOTHING).unwrap(), Config::default());
}

#[test]
fn each_layer_wins_over_the_ones_before() {
    let file = Written { toml: "[demo]\nslots = 5", ..NOTHING };
    let environment = Written { environment: &[("MCP_DEMO__DEMO__SLOTS", "6")], ..file };
    let flags = Written { flags: &["--set", "demo.slots=7"], ..environment };
    let slots = |written| load(written).unwrap().demo.slots;
    assert_eq!([slots(NOTHING), slots(file), slots(environment), slots(flags)], [4, 5, 6, 7]);
}

#[test]
fn a_file_is_toml_or_yaml() {
    let toml = Written { toml: "[service]\nlease_ttl = '7s'\n[demo]\nqueues = ['a']\nlimits = { x = 1 }", ..NOTHING };
    let yaml = Written { yaml: "service: {lease_ttl: 7s}\ndemo:\n  queues: [a]\n  limits: {x: 1}\n", ..NOTHING };
    let config = load(toml).unwrap();
    assert_eq!(config, load(yaml).unwrap());
    assert_eq!(config.service.lease_ttl, Duration::from_secs(7));
    assert_eq!(config.demo.limits, BTreeMap::from([("x".to_owned(), 1)]));
}

#[test]
fn texts_become_what_their_keys_are() {
    let values = [
        ("service.listen", "[::1]:9"),
        ("service.instance_id", "007"),
        ("coord.endpoints", "http://a:1, http://b:2"),
        ("telemetry.log_format", "pretty"),
        ("telemetry.otlp_endpoint", ""),
        ("demo.slots", "7"),
        ("demo.ratio", "1"),
        ("demo.is_on", "true"),
        ("demo.pause", "1m 5s"),
        ("demo.queues", "a"),
        ("demo.limit", "12"),
        ("demo.limits.x", "3"),
    ];
    let names: Vec<String> =
        values.iter().map(|(key, _)| format!("MCP_DEMO__{}", key.to_uppercase().replace('.', "__"))).collect();
    let environment: Vec<_> = names.iter().zip(values).map(|(name, (_, value))| (name.as_str(), value)).collect();
    let sets: Vec<String> = values.iter().map(|(key, value)| format!("--set={key}={value}")).collect();
    let flags: Vec<_> = sets.iter().map(String::as_str).collect();

    for written in [Written { environment: &environment, ..NOTHING }, Written { flags: &flags, ..NOTHING }] {
        let config = load(written).unwrap();
        assert_eq!(config.service.listen, "[::1]:9".parse().unwrap());
        assert_eq!(config.service.instance_id.as_deref(), Some("007"));
        assert_eq!(config.coord.endpoints, ["http://a:1", "http://b:2"]);
        assert_eq!(config.telemetry.log_format, LogFormat::Pretty);
        assert_eq!(config.telemetry.otlp_endpoint, None);
        let demo = config.demo;
        assert_eq!((demo.slots, demo.ratio, demo.is_on, demo.pause.as_secs()), (7, 1.0, true, 65));
        assert_eq!((demo.queues, demo.limit, demo.limits["x"]), (vec!["a".to_owned()], Some(12), 3));
    }
}

#[test]
fn the_listen_flag_is_short_for_its_key() {
    let written = Written { flags: &["--listen", "127.0.0.1:99"], ..NOTHING };
    assert_eq!(load(written).unwrap().service.listen.port(), 99);
}

#[test]
fn variables_with_single_underscores_are_not_keys() {
    let environment = &[("MCP_DEMO_PORT", "tcp://10.0.0.1:7102"), ("MCP_DEMO_SERVICE_HOST", "10.0.0.1"), ("PATH", "/")];
    assert_eq!(load(Written { environment, ..NOTHING }).unwrap(), Config::default());
}

#[test]
fn a_wrong_key_names_itself_and_its_layer() {
    let in_file = |toml| Written { toml, ..NOTHING };
    let in_environment = |environment| Written { environment, ..NOTHING };
    let in_flags = |flags| Written { flags, ..NOTHING };
    let cases: [(Written<'_>, &str, &str); 24] = [
        (
            in_file("[service]\nlistn = 'x'"),
            "`service.listn` from file",
            "unknown field `listn`, expected one of `listen`",
        ),
        (in_file("[sevice]\nlisten = 'x'"), "`sevice` from file", "unknown field `sevice`"),
        (in_file("[demo]\nslots = 'many'"), "`demo.slots` from file", "expected u16"),
        (in_file("[demo]\nslots = 1.7"), "`demo.slots` from file", "expected u16"),
        (in_file("[demo]\nslots = 70000"), "`demo.slots` from file", "70000"),
        (in_file("[demo]\nis_on = 1"), "`demo.is_on` from file", "expected a boolean"),
        (in_file("[demo]\npause = 5"), "`demo.pause` from file", "expected a duration"),
        (in_file("[demo]\nlimit = '5'"), "`demo.limit` from file", "expected u64"),
        (in_file("[service]\ninstance_id = 5"), "`service.instance_id` from file", "expected a string"),
        (in_file("[coord]\ncluster = 5"), "`coord.cluster` from file", "expected a string"),
        (in_file("demo = 5"), "`demo` from file", "expected struct Demo"),
        (in_file("[service]\nlease_ttl = '1ms'"), "`service.lease_ttl` from file", "1ms is not between 1s and 3600s"),
        (
            in_environment(&[("MCP_DEMO__DEMO__SLOT", "1")]),
            "`demo.slot` from environment variable `MCP_DEMO__DEMO__SLOT`",
            "unknown field",
        ),
        (
            in_environment(&[("MCP_DEMO__DEMO", "1")]),
            "`demo` from environment variable `MCP_DEMO__DEMO`",
            "one of its keys",
        ),
        (
            in_environment(&[("MCP_DEMO__DEMO__PAUSE", "soon")]),
            "`demo.pause` from environment variable `MCP_DEMO__DEMO__PAUSE`",
            "expected a duration",
        ),
        (in_environment(&[("MCP_DEMO__DEMO__SLOTS", "")]), "`demo.slots` from environment", "expected a whole number"),
        (
            in_environment(&[("MCP_DEMO____SLOTS", "1")]),
            "environment variable `MCP_DEMO____SLOTS` is malformed",
            ".slots",
        ),
        (
            in_environment(&[("MCP_DEMO__COORD__ENDPOINTS", "etcd:2379")]),
            "`coord.endpoints` from environment",
            "`etcd:2379` is not a URL",
        ),
        (in_flags(&["--set", "demo.is_on=maybe"]), "`demo.is_on` from flag `--set demo.is_on=maybe`", "found `maybe`"),
        (in_flags(&["--set", "demo.slots"]), "flag `--set demo.slots` is malformed", "no `=`"),
        (in_flags(&["--set", "demo.slots=0"]), "`demo.slots` from flag", "0 is too few"),
        (in_flags(&["--set", "demo.limit=x"]), "`demo.limit` from flag", "expected u64"),
        (in_flags(&["--listen", "7102"]), "`service.listen` from flag `--listen 7102`", "invalid socket address"),
        (
            in_flags(&["--set", "telemetry.log_format=xml"]),
            "`telemetry.log_format` from flag",
            "expected `json` or `pretty`",
        ),
    ];
    for (written, whence, reason) in cases {
        let text = refusal(written);
        assert!(text.contains(whence) && text.contains(reason), "{written:?}\n gave: {text}");
    }
}

#[test]
fn shared_sections_are_checked() {
    for (set, reason) in [
        ("service.advertise=here", "`here` is not `host:port`"),
        ("service.advertise=:80", "`:80` is not `host:port`"),
        ("service.instance_id=a/b", "`a/b` is not a name"),
        ("service.weight=0", "not between 1 and 10000"),
        ("service.shutdown_grace=2h", "7200s is longer than 3600s"),
        ("coord.cluster=", "is not a name"),
        ("coord.endpoints=", "at least one URL"),
        ("telemetry.log_filter=a=b=c", "`a=b=c`"),
        ("telemetry.sample_ratio=1.5", "1.5 is not between 0 and 1"),
        ("telemetry.otlp_endpoint=collector:4317", "`collector:4317` is not a URL"),
    ] {
        let text = refusal(Written { flags: &["--set", set], ..NOTHING });
        assert!(text.contains(set.split('=').next().unwrap()) && text.contains(reason), "{set} gave: {text}");
    }
}

#[test]
fn the_origin_is_the_layer_that_won() {
    let written = Written { toml: "[demo]\nslots = 0", environment: &[("MCP_DEMO__DEMO__SLOTS", "0")], ..NOTHING };
    assert!(refusal(written).contains("environment variable"));
    let written = Written { toml: "[demo]\nslots = 0", environment: &[("MCP_DEMO__DEMO__IS_ON", "true")], ..NOTHING };
    assert!(refusal(written).contains("file"));
}

#[test]
fn a_file_that_cannot_be_read_names_itself() {
    for (path, reason) in [("/nowhere/demo.toml", "not found"), ("/nowhere/demo", "not found")] {
        let error = Sources::new("demo").file(Some(PathBuf::from(path))).load::<Config>().unwrap_err();
        let text = format!("{:#}", anyhow::Error::new(error));
        assert!(text.contains(path) && text.contains(reason), "{text}");
    }
    let text = refusal(Written { toml: "[demo\nslots = 1", ..NOTHING });
    assert!(text.contains("demo.toml") && text.contains("line 1"), "{text}");
}

#[test]
fn printed_settings_can_be_read_back() {
    let written = Written {
        flags: &["--set", "demo.queues=a,b", "--set", "service.zone=z", "--set", "demo.limits.x=3"],
        ..NOTHING
    };
    let config = load(written).unwrap();
    let printed = to_toml(&config).unwrap();
    assert_eq!(load(Written { toml: &printed, ..NOTHING }).unwrap(), config, "{printed}");
}

#[test]
fn help_teaches_every_key_and_the_environment() {
    let help =
        Flags::parse_for::<Config>("demo", "1.2.3", ["mcp-demo", "--help"].into_iter().map(Into::into)).unwrap_err();
    let help = help.to_string();
    for lesson in ["MCP_DEMO__SERVICE__LISTEN", "[demo]", "lease_ttl = \"10s\"", "--check-config", "64"] {
        assert!(help.contains(lesson), "{lesson} is missing:\n{help}");
    }
}
