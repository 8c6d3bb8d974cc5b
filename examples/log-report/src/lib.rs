//! A real job: an access log split, parsed in parallel and reduced to a report.
