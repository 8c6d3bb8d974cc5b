//! How long a change of a route takes until it holds on every data-plane thread.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use mcp_proto::gateway::v1::{ApplyRouteRequest, HeaderEdit, HeaderRule, Route, Settings};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    load::{Call, Connection, on_own_thread},
    message::{self, UNARY_PATH},
    routes,
    system::System,
};

/// Connections that call all the time: enough that each data-plane thread has some.
pub const CONNECTIONS: usize = 8;
/// Between two calls of a connection.
pub const INTERVAL: Duration = Duration::from_millis(1);
/// Between a change that holds and the next one, so that changes come at any moment of the callers' intervals.
const PAUSE: Duration = Duration::from_micros(7_300);
/// Longest wait for a change.
const LIMIT: Duration = Duration::from_secs(10);
/// The header by which a caller knows which version of the route answered.
const VERSION: &str = "x-version";

/// Changes a route so often, while connections call through it, and tells for each change how long it took from the
/// moment it was sent to the gateway until the last connection saw it.
///
/// # Errors
/// The first call or write that fails.
pub async fn propagation(system: &System, changes: usize) -> anyhow::Result<Vec<Duration>> {
    let (address, url) = (system.address(), system.url());
    on_own_thread(move || async move {
        let call = Rc::new(Call::new(address, UNARY_PATH, message::unary())?);
        let (mut callers, mut seen) = (JoinSet::new(), Vec::new());
        for connection in Connection::open_many(address, CONNECTIONS).await? {
            let (sender, receiver) = watch::channel(0);
            callers.spawn_local(caller(connection, Rc::clone(&call), sender));
            seen.push(receiver);
        }
        let mut client = routes::client(&url).await?;
        let mut took = Vec::with_capacity(changes);
        for version in 1..=changes {
            let sent = Instant::now();
            client.apply_route(ApplyRouteRequest { route: Some(route(version)), validate_only: false }).await?;
            for receiver in &mut seen {
                let change = receiver.wait_for(|seen| *seen == version);
                // A caller ends when a call fails; that is what is told then.
                match timeout(LIMIT, change).await.context("a change does not hold")? {
                    Ok(_) => {}
                    Err(_ended) => callers.join_next().await.context("callers have ended")???,
                }
            }
            took.push(sent.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(took)
    })
    .await
}

/// The route of the load, which marks answers with its version.
fn route(version: usize) -> Route {
    let set = BTreeMap::from([(VERSION.to_owned(), version.to_string())]);
    let rule = HeaderRule { response: Some(HeaderEdit { set, ..HeaderEdit::default() }), ..HeaderRule::default() };
    let settings = Settings { headers: vec![rule], ..Settings::default() };
    Route { settings: Some(settings), ..routes::echo() }
}

/// Calls until nobody wants to know, and tells which version answered.
async fn caller(mut connection: Connection, call: Rc<Call>, seen: watch::Sender<usize>) -> anyhow::Result<()> {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !seen.is_closed() {
        ticks.tick().await;
        let headers = call.unary(&mut connection).await?;
        if let Some(version) = headers.get(VERSION) {
            let version = version.to_str()?.parse()?;
            seen.send_if_modified(|seen| std::mem::replace(seen, version) != version);
        }
    }
    Ok(())
}
