//! `mcp frame`: the wire frame.

use std::str::FromStr;

use clap::{Args, Subcommand};
use mcp_proto::frame::Command;

use super::{help, parse::pair};

/// What `mcp frame` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Frame {
    /// Make a call and print its answer.
    #[command(after_help = help::frame::CALL)]
    Call(Call),
    /// Print the messages of a topic as they come.
    #[command(after_help = help::frame::SUBSCRIBE)]
    Subscribe {
        /// The topic: levels parted by `/`, `*` for any one level, `#` at the end for the rest.
        topic: String,
        /// End after this many messages.
        #[arg(long, short = 'n', value_name = "COUNT")]
        count: Option<u64>,
        /// Where frames are taken.
        #[command(flatten)]
        address: Address,
    },
    /// Publish a message to a topic.
    #[command(after_help = help::frame::PUBLISH)]
    Publish {
        /// The topic.
        topic: String,
        /// The message: JSON, or any text with `--raw`.
        message: String,
        /// Send the message as it is.
        #[arg(long)]
        raw: bool,
        /// Where frames are taken.
        #[command(flatten)]
        address: Address,
    },
    /// Ask whether the gateway is there, and how long that takes.
    #[command(after_help = help::frame::PING)]
    Ping {
        /// How often.
        #[arg(long, short = 'n', default_value_t = 1, value_name = "COUNT")]
        count: u32,
        /// Where frames are taken.
        #[command(flatten)]
        address: Address,
    },
}

impl Frame {
    /// The command's name, for its span.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Call(_) => "frame call",
            Self::Subscribe { .. } => "frame subscribe",
            Self::Publish { .. } => "frame publish",
            Self::Ping { .. } => "frame ping",
        }
    }
}

/// Where frames are taken.
#[derive(Debug, Clone, Args)]
pub struct Address {
    /// Where the gateway takes frames: `mcp://HOST:PORT`, or `mcps://HOST:PORT` with TLS.
    #[arg(long, env = "MCP_FRAMES", default_value = "mcp://127.0.0.1:7070", value_name = "URL")]
    pub address: String,
}

/// Flags of `mcp frame call`.
#[derive(Debug, Clone, Args)]
pub struct Call {
    /// `/package.Service/Method`, the name of a command, or its number such as `0x8001`.
    pub target: Target,
    /// The body: JSON, or any text with `--raw`.
    #[arg(default_value = "{}")]
    pub body: String,
    /// Send the body as it is.
    #[arg(long)]
    pub raw: bool,
    /// Print every answer of a streaming call, one a line.
    #[arg(long, short)]
    pub stream: bool,
    /// Metadata to send. Can be given more than once.
    #[arg(long = "metadata", short = 'm', value_parser = pair, value_name = "KEY=VALUE")]
    pub metadata: Vec<(String, String)>,
    /// Where frames are taken.
    #[command(flatten)]
    pub address: Address,
}

/// What to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A gRPC method.
    Method(String),
    /// A command.
    Command(Command),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') && text.matches('/').count() == 2 {
            return Ok(Self::Method(text.to_owned()));
        }
        if let Some(command) = Command::from_name(text) {
            return Ok(Self::Command(command));
        }
        match text.strip_prefix("0x").map(|digits| u16::from_str_radix(digits, 16)) {
            Some(Ok(number)) => Ok(Self::Command(Command(number))),
            Some(Err(_)) | None => {
                let names: Vec<&str> = Command::ALL.iter().map(|(_, name)| *name).collect();
                Err(format!("write /package.Service/Method, a number such as 0x8001, or one of {}", names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_method_a_name_or_a_number() {
        assert_eq!("/a.B/C".parse(), Ok(Target::Method("/a.B/C".to_owned())));
        assert_eq!("task-get".parse(), Ok(Target::Command(Command::TASK_GET)));
        assert_eq!("0x8001".parse(), Ok(Target::Command(Command(0x8001))));
        for text in ["", "a.B/C", "/a", "task", "8001", "0x", "0x10000"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
