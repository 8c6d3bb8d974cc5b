//! Carries out what the catalog orders, on the control plane.

use std::sync::{Arc, Mutex, PoisonError};

use mcp_client::{Discovery, discovery::Instances};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Snapshot,
    catalog::{Catalog, Question, View},
    live::{Live, Shown},
    reflection,
    schema::Schema,
};
use crate::transcode::rules::RuleError;

/// What the control plane shows of the descriptors. Clones show the same.
#[derive(Debug, Clone)]
pub(crate) struct Descriptors {
    /// The newest snapshot.
    pub(crate) newest: watch::Receiver<Arc<Snapshot>>,
    /// The same, and which services are registered now.
    pub(crate) shown: watch::Receiver<Shown>,
    /// True once every service that was registered at the start was asked.
    pub(crate) complete: watch::Receiver<bool>,
    view: Arc<Mutex<Vec<View>>>,
}

impl Descriptors {
    /// Every source and what came of asking it.
    pub(crate) fn view(&self) -> Vec<View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Follows the instances from now on. `own` are the full names of the gateway's own services. The future never ends;
/// dropping it stops the questions that are open.
pub(crate) fn start(
    discovery: Discovery,
    built_in: Arc<Schema>,
    own: &'static [&'static str],
) -> (Descriptors, impl Future<Output = ()>) {
    let catalog = Catalog::new(Arc::clone(&built_in));
    let snapshot = Arc::new(catalog.snapshot());
    let live = Arc::new(Live::of(&Instances::new([]), own));
    let (showing, shown) = watch::channel(Shown { snapshot: Arc::clone(&snapshot), live });
    let (newest, snapshots) = watch::channel(snapshot);
    let (is_complete, complete) = watch::channel(false);
    let view = Arc::default();
    let follower = Follower {
        catalog,
        built_in,
        own,
        newest,
        showing,
        is_complete,
        view: Arc::clone(&view),
        questions: JoinSet::new(),
    };
    (Descriptors { newest: snapshots, shown, complete, view }, follower.run(discovery))
}

struct Follower {
    catalog: Catalog,
    built_in: Arc<Schema>,
    own: &'static [&'static str],
    newest: watch::Sender<Arc<Snapshot>>,
    showing: watch::Sender<Shown>,
    is_complete: watch::Sender<bool>,
    view: Arc<Mutex<Vec<View>>>,
    questions: JoinSet<(Question, Result<Schema, String>)>,
}

impl Follower {
    async fn run(mut self, mut discovery: Discovery) {
        discovery.synced().await;
        let mut changed = self.update(&discovery.snapshot());
        loop {
            self.ask();
            self.publish(changed);
            let next = self.catalog.next_due(Instant::now());
            changed = tokio::select! {
                () = discovery.changed() => self.update(&discovery.snapshot()),
                Some(outcome) = self.questions.join_next() => match outcome {
                    Ok((question, outcome)) => self.answered(&question, outcome),
                    // It does not panic, and nobody aborts it.
                    Err(error) => {
                        tracing::error!(%error, "a question for descriptors was lost");
                        false
                    }
                },
                () = at(next) => false,
            };
        }
    }

    fn update(&mut self, instances: &Instances) -> bool {
        let live = Live::of(instances, self.own);
        self.showing.send_if_modified(|shown| {
            let is_new = *shown.live != live;
            if is_new {
                shown.live = Arc::new(live);
            }
            is_new
        });
        self.catalog.update(instances)
    }

    fn ask(&mut self) {
        for question in self.catalog.due(Instant::now()) {
            let fallback = self.built_in.pool.clone();
            self.questions.spawn(async move {
                let outcome = reflection::pull(&question.address, &question.services, &fallback).await;
                (question, outcome.map_err(|error| error.to_string()))
            });
        }
    }

    fn answered(&mut self, question: &Question, outcome: Result<Schema, String>) -> bool {
        let (service, version) = (&question.key.service, &question.key.version);
        match &outcome {
            Ok(schema) => {
                tracing::info!(
                    service,
                    version,
                    address = question.address,
                    services = schema.services.len(),
                    "descriptors pulled"
                );
                for fault in schema.services.values().flat_map(|service| &service.faults) {
                    tracing::warn!(service, version, error = whole(fault), "HTTP rule not used");
                }
            }
            Err(error) => {
                tracing::warn!(
                    service,
                    version,
                    address = question.address,
                    error,
                    "no descriptors from an instance: asked again later"
                );
            }
        }
        self.catalog.answered(question, outcome, Instant::now(), rand::random())
    }

    fn publish(&mut self, changed: bool) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = self.catalog.view();
        if changed {
            let snapshot = self.catalog.snapshot();
            for conflict in snapshot.conflicts() {
                tracing::warn!(conflict, "HTTP rule not used");
            }
            let snapshot = Arc::new(snapshot);
            self.newest.send_replace(Arc::clone(&snapshot));
            self.showing.send_modify(|shown| shown.snapshot = snapshot);
        }
        if self.catalog.is_complete() {
            self.is_complete.send_if_modified(|complete| !std::mem::replace(complete, true));
        }
    }
}

/// An error with its cause.
fn whole(fault: &RuleError) -> String {
    match std::error::Error::source(fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
