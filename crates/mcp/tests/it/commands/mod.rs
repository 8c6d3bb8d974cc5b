//! The commands against servers that answer as told: which requests the flags become, what is printed, how it ends; and
//! against real ones, from end to end.

mod frame;
mod queues;
mod real;
mod routes;
mod schedules;
mod servers;
mod workflows;

use std::{io::Write, process::Stdio};

use serde_json::Value;

use self::servers::Servers;
use crate::support::mcp;

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    output: String,
    error: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs `mcp` against the servers of a script.
async fn run(servers: &Servers, args: &[&str], input: &str) -> Ended {
    run_at(&servers.url, args, input).await
}

/// Runs `mcp` with these arguments, `input` on its standard input and no terminal.
async fn run_at(url: &str, args: &[&str], input: &str) -> Ended {
    let mut command = mcp();
    command.args(["--gateway", url]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let mut process = command.spawn().unwrap();
        process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        process.wait_with_output().unwrap()
    });
    let ended = ended.await.unwrap();
    Ended {
        code: ended.status.code().unwrap(),
        output: String::from_utf8(ended.stdout).unwrap(),
        error: String::from_utf8(ended.stderr).unwrap(),
    }
}
