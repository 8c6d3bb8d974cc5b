//! How a WebSocket ends.

use mcp_proto::Error;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

/// Close codes for errors begin here: 4000 plus the gRPC status code. Source: RFC 6455, section 7.4.2, leaves 4000 to
/// 4999 to applications.
const ERRORS: u16 = 4_000;

/// Why a session is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The service ended the call well.
    Done,
    /// The call failed, or the caller sent what cannot be sent on.
    Failed(Error),
    /// The gateway is stopping: the caller may call again, and will get to another one.
    Leaving,
    /// The caller broke a rule of the protocol: what to close with.
    Violated(CloseCode, &'static str),
    /// The caller went away, with a closing handshake or without.
    Gone,
}

impl End {
    /// The frame to close with; `None` when nobody is there to read it.
    pub(crate) fn frame(&self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Done => (CloseCode::Normal, ""),
            Self::Failed(error) => (CloseCode::from(close_code(error)), error.code().name()),
            Self::Leaving => (CloseCode::Away, "the gateway is stopping"),
            Self::Violated(code, reason) => (*code, *reason),
            Self::Gone => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }

    /// How the call is counted.
    pub(crate) fn code(&self) -> tonic::Code {
        match self {
            Self::Done => tonic::Code::Ok,
            Self::Failed(error) => error.code().grpc(),
            Self::Leaving => tonic::Code::Unavailable,
            Self::Violated(..) => tonic::Code::InvalidArgument,
            Self::Gone => tonic::Code::Cancelled,
        }
    }
}

/// The code for an error.
fn close_code(error: &Error) -> u16 {
    ERRORS + u16::try_from(error.code().grpc() as i32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use mcp_proto::Code;

    use super::*;

    #[test]
    fn an_error_is_closed_with_its_status_and_its_name() {
        let frame = End::Failed(Error::new(Code::TaskNotFound, "none")).frame().unwrap();
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4_005, "TASK_NOT_FOUND"));
        for code in Code::ALL {
            assert!(code.name().len() <= 123, "{code:?}: a close frame has no more room");
        }
    }
}
