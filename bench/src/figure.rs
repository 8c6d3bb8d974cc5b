//! The median of a figure over several runs, and where the figures go.

use std::{collections::BTreeMap, fs, future::Future, path::Path};

use anyhow::Context;
pub(crate) use gateway_bench::figures::Figure;
use serde::Serialize;

/// Where `make bench` leaves the figures.
const SUMMARY: &str = "target/bench/summary.json";

/// Runs a scenario several times and keeps the median of each of its figures, noting the lowest and highest.
pub(crate) async fn median_of<Fut>(runs: usize, scenario: impl Fn() -> Fut) -> anyhow::Result<Vec<Figure>>
where
    Fut: Future<Output = anyhow::Result<Vec<Figure>>>,
{
    let mut seen: BTreeMap<&'static str, Vec<Figure>> = BTreeMap::new();
    for _ in 0..runs.max(1) {
        for figure in scenario().await? {
            seen.entry(figure.name).or_default().push(figure);
        }
    }
    Ok(seen.into_values().map(median).collect())
}

fn median(mut figures: Vec<Figure>) -> Figure {
    figures.sort_by(|a, b| a.value.total_cmp(&b.value));
    let (low, high) = (figures[0].value, figures[figures.len() - 1].value);
    let runs = figures.len();
    let mut middle = figures.swap_remove(runs / 2);
    middle.conditions = format!("{}; median of {runs}, {low:.2} to {high:.2}", middle.conditions);
    middle
}

/// The figures of one call.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Summary(Vec<Figure>);

impl Summary {
    /// Adds a figure.
    pub(crate) fn add(&mut self, figure: Figure) {
        self.0.push(figure);
    }

    /// Writes them as JSON.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = Path::new(SUMMARY);
        fs::create_dir_all(path.parent().expect("the path has a folder"))?;
        fs::write(path, serde_json::to_vec_pretty(self)?).with_context(|| format!("cannot write {SUMMARY}"))
    }
}
