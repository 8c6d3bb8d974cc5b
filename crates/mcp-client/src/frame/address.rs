//! Where a gateway takes frames.

use std::{fmt, str::FromStr};

use mcp_proto::Error;

/// Port of a URL that names none.
pub const DEFAULT_PORT: u16 = 7070;

/// The scheme of a plain connection.
const PLAIN: &str = "mcp";
/// The scheme of one with TLS.
const SECURE: &str = "mcps";

/// `mcp://host:port`, or `mcps://host:port` with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Name or address, without brackets.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
    /// Whether TLS is spoken.
    pub(super) is_secure: bool,
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        let refuse = |why: String| Error::invalid("url", format!("must be `mcp://host:port`, not `{url}`: {why}"));
        let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| refuse(error.to_string()))?;
        let is_secure = match uri.scheme_str() {
            Some(PLAIN) => false,
            Some(SECURE) => true,
            _ => return Err(refuse(format!("the scheme must be `{PLAIN}` or `{SECURE}`"))),
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(refuse("the host is missing".to_owned()));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refuse("it must not have a path".to_owned()));
        }
        Ok(Self { host: host.to_owned(), port: uri.port_u16().unwrap_or(DEFAULT_PORT), is_secure })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { SECURE } else { PLAIN };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_and_whether_tls_is_spoken() {
        for (url, expected) in [
            ("mcp://gateway:1", "mcp://gateway:1"),
            ("mcp://gateway", "mcp://gateway:7070"),
            ("mcps://127.0.0.1:443/", "mcps://127.0.0.1:443"),
            ("mcp://[::1]:1", "mcp://[::1]:1"),
        ] {
            assert_eq!(url.parse::<Address>().unwrap().to_string(), expected);
        }
        for url in ["", "gateway:1", "http://gateway:1", "mcp://", "mcp://gateway/path", "mcp://gateway?x"] {
            assert_eq!(url.parse::<Address>().unwrap_err().violations()[0].field, "url", "{url}");
        }
    }
}
