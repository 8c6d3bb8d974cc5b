//! What is wrong with a route or a policy, field by field.

use mcp_proto::Error;

/// Most faults of one record that are told.
const VIOLATIONS_MAX: usize = 50;

/// Wrong fields, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    found: Vec<(String, String)>,
}

impl Violations {
    /// Adds one: the path of the field, and what is wrong with it, as the end of a sentence that begins with its name.
    pub(crate) fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        if self.found.len() < VIOLATIONS_MAX {
            self.found.push((field.into(), reason.into()));
        }
    }

    /// Adds one unless `right` holds.
    pub(crate) fn check(&mut self, right: bool, field: &str, reason: &str) {
        if !right {
            self.add(field, reason);
        }
    }

    /// Adds one when there are more than `max`; true when there are not.
    pub(crate) fn at_most(&mut self, len: usize, max: usize, field: &str) -> bool {
        self.check(len <= max, field, &format!("has {len} entries, more than {max}"));
        len <= max
    }

    /// The value, or what kept it from being one.
    pub(crate) fn take<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.add(field, reason)).ok()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Ok when there is none.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with all of them.
    pub(crate) fn into_result(self) -> Result<(), Error> {
        let mut found = self.found.into_iter();
        let Some((field, reason)) = found.next() else {
            return Ok(());
        };
        Err(found.fold(Error::invalid(field, reason), |error, (field, reason)| error.with_violation(field, reason)))
    }
}
