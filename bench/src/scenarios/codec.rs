//! The codec of the wire frame, beside protobuf and JSON: no network, one thread.

use std::{env, process::Command};

use anyhow::{Context, ensure};

use crate::figure::Figure;

/// Figures whose value is messages per second.
pub(crate) const FIGURES: &[&str] = &[
    "frame_decode_64",
    "frame_decode_1k",
    "frame_decode_64k",
    "frame_encode_64",
    "frame_encode_1k",
    "frame_encode_64k",
    "protobuf_decode_64",
    "protobuf_decode_1k",
    "protobuf_decode_64k",
    "protobuf_encode_64",
    "protobuf_encode_1k",
    "protobuf_encode_64k",
    "json_decode_64",
    "json_decode_1k",
    "json_decode_64k",
    "json_encode_64",
    "json_encode_1k",
    "json_encode_64k",
];
/// Payloads from which bytes count, not messages.
const LARGE: &str = "_64k";

/// What the codec's own example measures.
pub(crate) async fn frames() -> anyhow::Result<Vec<Figure>> {
    let program = env::current_exe()?.with_file_name("examples").join("frame_codec");
    let output = Command::new(&program).output().with_context(|| {
        format!("{} does not start; build it with `cargo build --release -p mcp-proto --examples`", program.display())
    })?;
    ensure!(output.status.success(), "the codec's example failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    FIGURES.iter().map(|name| figure(name, &text)).collect()
}

fn figure(name: &'static str, text: &str) -> anyhow::Result<Figure> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let words: Vec<&str> = line.with_context(|| format!("the example printed no {name}"))?.split(' ').collect();
    let [rate, _, bytes, _] = words[..] else { anyhow::bail!("the example printed {words:?} for {name}") };
    let (value, unit, other) = if name.ends_with(LARGE) {
        (bytes, "GB/s", format!("{rate}/s"))
    } else {
        (rate, "1/s", format!("{bytes} GB/s"))
    };
    Ok(Figure {
        name,
        value: value.parse()?,
        unit,
        conditions: format!("one thread, with checksum where there is one; {other}"),
    })
}
