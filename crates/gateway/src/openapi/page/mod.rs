//! The page at `/docs`: it shows the document, and calls what it shows.
//!
//! Three files, part of the program, that ask nobody else for anything. They say nothing of what is registered, so
//! everybody may have them, as a browser has no way to show a key before there is a page; the document that the page asks
//! for is for those who may see it.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderValue, Response, header};

use super::content::Content;
use crate::body::Body;

/// What the page may do: run its own script, wear its own style, call where it came from, and stand in no frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum File {
    /// The page.
    Page,
    /// How it looks.
    Style,
    /// What it does.
    Script,
    /// How it draws schemas.
    Schemas,
    /// How it calls.
    Try,
}

impl File {
    fn content(self) -> &'static Content {
        static PAGE: OnceLock<Content> = OnceLock::new();
        static STYLE: OnceLock<Content> = OnceLock::new();
        static SCRIPT: OnceLock<Content> = OnceLock::new();
        static SCHEMAS: OnceLock<Content> = OnceLock::new();
        static TRY: OnceLock<Content> = OnceLock::new();
        const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
        let (content, content_type, text) = match self {
            Self::Page => (&PAGE, "text/html; charset=utf-8", include_str!("docs.html")),
            Self::Style => (&STYLE, "text/css; charset=utf-8", include_str!("docs.css")),
            Self::Script => (&SCRIPT, JAVASCRIPT, include_str!("docs.js")),
            Self::Schemas => (&SCHEMAS, JAVASCRIPT, include_str!("schemas.js")),
            Self::Try => (&TRY, JAVASCRIPT, include_str!("try.js")),
        };
        content.get_or_init(|| Content::new(content_type, text))
    }

    /// The answer to a request with these headers.
    pub(crate) fn answer(self, asked: &HeaderMap) -> Response<Body> {
        let mut response = self.content().answer(asked);
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
        response.headers_mut().insert(header::REFERRER_POLICY, NO_REFERRER);
        response
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_asks_nobody_else_and_keeps_its_policy() {
        let files = [
            include_str!("docs.html"),
            include_str!("docs.css"),
            include_str!("docs.js"),
            include_str!("schemas.js"),
            include_str!("try.js"),
        ];
        for text in files {
            for part in ["https://", "http://", "//cdn", "innerHTML", "eval(", "style=\"", "onclick=", "<style"] {
                assert!(!text.contains(part), "`{part}` in\n{text}");
            }
        }
    }
}
