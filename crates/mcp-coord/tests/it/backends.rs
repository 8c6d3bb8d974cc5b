//! The backends under test.

use std::sync::Arc;

use async_trait::async_trait;
use mcp_coord::{Coordinator, Embedded, Etcd, conformance::Backend};
use tempfile::TempDir;
use testkit::etcd::EtcdProcess;

#[derive(Debug)]
pub(crate) struct Memory(Embedded);

impl Memory {
    pub(crate) fn start() -> Self {
        Self(Embedded::in_memory())
    }
}

#[async_trait]
impl Backend for Memory {
    fn coordinator(&self) -> Arc<dyn Coordinator> {
        Arc::new(self.0.clone())
    }

    async fn restart(&mut self) {
        panic!("memory does not outlast a restart");
    }
}

#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    coord: Option<Embedded>,
}

impl Folder {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let coord = Embedded::open(folder.path()).unwrap();
        Self { folder, coord: Some(coord) }
    }
}

#[async_trait]
impl Backend for Folder {
    fn coordinator(&self) -> Arc<dyn Coordinator> {
        Arc::new(self.coord.clone().expect("it is open"))
    }

    async fn restart(&mut self) {
        self.coord = None; // lets go of the folder
        self.coord = Some(Embedded::open(self.folder.path()).unwrap());
    }
}

#[derive(Debug)]
pub(crate) struct RealEtcd {
    pub(crate) process: EtcdProcess,
    pub(crate) coord: Etcd,
}

impl RealEtcd {
    pub(crate) async fn start() -> Self {
        let process = EtcdProcess::start().await;
        let coord = Etcd::connect(&[process.endpoint()]).await.unwrap();
        Self { process, coord }
    }
}

#[async_trait]
impl Backend for RealEtcd {
    fn coordinator(&self) -> Arc<dyn Coordinator> {
        Arc::new(self.coord.clone())
    }

    async fn restart(&mut self) {
        self.process.restart().await;
        self.coord = Etcd::connect(&[self.process.endpoint()]).await.unwrap();
    }
}
