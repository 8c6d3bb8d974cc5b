//! What is counted of a gRPC service, as one data-plane thread calls its instances.

use std::{cell::OnceCell, sync::Arc, time::Duration};

use mcp_client::discovery::plain_name;

use super::{
    histogram::Mark,
    sheet::{Sheet, UpstreamCells},
};

/// The cells of a service, found on its first call.
#[derive(Debug)]
pub(crate) struct UpstreamTally {
    sheet: Arc<Sheet>,
    service: Box<str>,
    cells: OnceCell<Arc<UpstreamCells>>,
}

impl UpstreamTally {
    /// Nothing is found yet.
    pub(crate) fn new(sheet: &Arc<Sheet>, service: &str) -> Self {
        Self { sheet: Arc::clone(sheet), service: plain_name(service).into(), cells: OnceCell::new() }
    }

    /// Counts a request that was sent to an instance.
    pub(crate) fn record(&self, code: tonic::Code, duration: Duration, mark: Mark) {
        let cells = self.cells.get_or_init(|| self.sheet.upstream(&self.service));
        cells.duration.record(duration, mark);
        cells.codes[code as usize].add(1);
    }
}
