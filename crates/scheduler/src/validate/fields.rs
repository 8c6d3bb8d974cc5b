//! Checks that several requests share.

use std::{fmt, time::Duration};

use mcp_proto::Error;

/// Violations that one answer names.
const VIOLATIONS_MAX: usize = 20;

/// Page size when none is given.
const PAGE_SIZE_DEFAULT: usize = 50;
/// Largest page.
const PAGE_SIZE_MAX: i32 = 500;

/// Longest namespace and queue.
const NAME_LEN_MAX: usize = 63;

/// Wrong fields of one request.
#[derive(Debug, Default)]
pub(super) struct Violations(Option<Error>, usize);

impl Violations {
    /// Notes a wrong field.
    pub(super) fn add(&mut self, field: impl fmt::Display, description: impl Into<String>) {
        let (field, description) = (field.to_string(), description.into());
        self.1 += 1;
        self.0 = match self.0.take() {
            None => Some(Error::invalid(field, description)),
            Some(error) if self.1 <= VIOLATIONS_MAX => Some(error.with_violation(field, description)),
            full => full,
        };
    }

    /// True when nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// True when no more are noted.
    pub(super) fn is_full(&self) -> bool {
        self.1 >= VIOLATIONS_MAX
    }

    /// The error, if there is one.
    pub(super) fn into_result(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Why a text is no namespace, if so.
pub(super) fn namespace_fault(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name_fault(text, allowed, "a-z0-9-")
}

/// Why a text is no queue, if so.
pub(super) fn queue_fault(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name_fault(text, allowed, "a-zA-Z0-9._-")
}

fn name_fault(text: &str, allowed: impl Fn(u8) -> bool, characters: &str) -> Option<String> {
    let right = (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(allowed);
    (!right).then(|| format!("must be 1 to {NAME_LEN_MAX} characters of `{characters}`"))
}

/// Why a text is longer than it may be, if so.
pub(super) fn length_fault(text: &str, bytes_max: usize) -> Option<String> {
    (text.len() > bytes_max).then(|| format!("is {} bytes long; at most {bytes_max} are allowed", text.len()))
}

/// How many elements a page may have; 0 asks for the default.
pub(super) fn page_size(size: i32, violations: &mut Violations) -> usize {
    match size {
        0 => PAGE_SIZE_DEFAULT,
        1..=PAGE_SIZE_MAX => usize::try_from(size).unwrap_or(PAGE_SIZE_DEFAULT),
        size => {
            violations.add("page_size", format!("is {size}; it must be 1 to {PAGE_SIZE_MAX}, or 0 for the default"));
            PAGE_SIZE_DEFAULT
        }
    }
}

/// A duration of the wire that is not negative.
///
/// # Errors
/// What is wrong with it.
pub(super) fn duration(wire: prost_types::Duration) -> Result<Duration, String> {
    if wire.seconds < 0 || wire.nanos < 0 {
        return Err("must not be negative".to_owned());
    }
    Duration::try_from(wire).map_err(|_| "is out of range".to_owned())
}
