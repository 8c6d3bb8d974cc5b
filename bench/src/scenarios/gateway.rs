//! The gateway in front of a service that is not ours, alone; other proxies beside it are measured by `bench/peers`.

use std::path::Path;

use gateway_bench::figures::{self, Plan};

use crate::figure::Figure;

/// What is measured together, by the names of its figures.
pub(crate) const ALL: &[&[&str]] = figures::ALL;

/// The figures of one entry of [`ALL`].
pub(crate) async fn measure(figures: &[&str], program: &Path) -> anyhow::Result<Vec<Figure>> {
    figures::measure(figures[0], &Plan::of(program)).await
}
