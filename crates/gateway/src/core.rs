//! What a data-plane thread works with.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mcp_proto::{Code, Error};
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access_log::AccessLog,
    call::Call,
    config::GatewaySettings,
    connections::Connections,
    descriptors::{
        derived::Derived,
        follow::Descriptors,
        local::{Held, Local},
    },
    frames::{LocalFrames, SharedFrames},
    limits::limiter::Limiter,
    metrics::{Instruments, Level, Protocol},
    onion::composed::Composed,
    openapi::content::Content,
    platform::Platform,
    record::Ledger,
    routes::{follow::Routes, table::RouteTable},
    security::{authorize, cache::TokenCache, principal::Principal, start::Security},
    trace::{Identity, Tracing},
    upstream::{Inspector, Surroundings, Upstreams},
};

/// When a refused caller should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What all threads share. Nothing in it changes but the flags of [`State`].
#[derive(Debug)]
pub(crate) struct Shared {
    /// The settings.
    pub(crate) settings: GatewaySettings,
    /// What is known of services by their descriptors.
    pub(crate) descriptors: Descriptors,
    /// What is registered, as an OpenAPI document.
    pub(crate) document: Derived<Content>,
    /// What is counted.
    pub(crate) instruments: Instruments,
    /// Where the gateway is in its life.
    pub(crate) state: State,
    /// The gateway's zone; empty when it has none.
    pub(crate) zone: String,
    /// By it, every thread can be asked what it knows about the instances.
    pub(crate) inspector: Inspector,
    /// Who may call.
    pub(crate) security: Security,
    /// How often.
    pub(crate) limiter: Limiter,
    /// What the limiter's clock counts from.
    pub(crate) started: std::time::Instant,
    /// The gateway's own services.
    pub(crate) platform: Platform,
    /// The sessions of the wire frame.
    pub(crate) frames: SharedFrames,
    /// The control plane's runtime, for work that would hold up calls.
    pub(crate) control: Handle,
    /// The routes that are in force.
    pub(crate) routes: Routes,
    /// Where requests are logged.
    pub(crate) access_log: Arc<AccessLog>,
    /// Share of the traces that begin here and are recorded, and whether anybody takes them.
    pub(crate) traces: (f64, bool),
}

/// Where the gateway is in its life.
#[derive(Debug, Default)]
pub(crate) struct State {
    synced: AtomicBool,
    draining: AtomicBool,
}

impl State {
    /// The first snapshot of the instances has come.
    pub(crate) fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// The gateway is stopping.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// True once it has known the instances.
    pub(crate) fn is_started(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// True once the gateway is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// True while calls are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining()
    }
}

/// One data-plane thread's own.
#[derive(Debug)]
pub(crate) struct Core {
    /// What it shares with the others.
    pub(crate) shared: Arc<Shared>,
    /// Its connections to instances.
    pub(crate) upstreams: Upstreams,
    /// WebSockets that are open.
    pub(crate) sessions: TaskTracker,
    /// Cancelled when the port has closed: what need not last should end.
    pub(crate) leaving: CancellationToken,
    /// The gateway's own gRPC services: health and reflection.
    pub(crate) own: tonic::service::Routes,
    /// What its sessions of the wire frame share.
    pub(crate) frames: LocalFrames,
    /// Tokens that it has checked.
    pub(crate) tokens: TokenCache,
    /// Which traces it records.
    pub(crate) tracing: Rc<Tracing>,
    /// Where it tells of requests.
    pub(crate) ledger: Rc<Ledger>,
    /// Callers' connections.
    pub(crate) connections: Connections,
    descriptors: Rc<Local>,
    routes: RefCell<Rc<Composed>>,
    calls: Arc<Level>,
    buffered: Cell<usize>,
}

impl Core {
    /// The state of thread number `index`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        own: tonic::service::Routes,
        index: usize,
        drain: CancellationToken,
    ) -> Self {
        let instruments = shared.instruments.of_thread(index);
        let ledger = Ledger { sheet: Arc::clone(&instruments.sheet), access_log: Arc::clone(&shared.access_log) };
        let surroundings = Surroundings {
            settings: Rc::new(shared.settings.upstream.clone()),
            instruments: instruments.clone(),
            zone: shared.zone.as_str().into(),
        };
        let descriptors = Rc::new(Local::new(shared.descriptors.newest.clone(), instruments));
        let described: Rc<Local> = Rc::clone(&descriptors);
        Self {
            upstreams: Upstreams::new(surroundings, shared.settings.policy.clone(), described),
            descriptors,
            routes: RefCell::new(Rc::new(Composed::new(Arc::default()))),
            sessions: TaskTracker::new(),
            leaving: CancellationToken::new(),
            calls: Arc::clone(&shared.instruments.calls[index]),
            buffered: Cell::new(0),
            frames: LocalFrames::new(&shared.settings.frames, drain),
            tokens: TokenCache::default(),
            tracing: Rc::new(Tracing::new(shared.traces.0, shared.traces.1)),
            ledger: Rc::new(ledger),
            connections: Connections::default(),
            own,
            shared,
        }
    }

    /// What is known of services now, for one request from its beginning to its end.
    pub(crate) fn descriptors(&self) -> Rc<Held> {
        self.descriptors.held()
    }

    /// The routes of now. A request keeps those that it began with.
    pub(crate) fn routes(&self) -> Rc<Composed> {
        Rc::clone(&self.routes.borrow())
    }

    /// Puts other routes in the place of those of now.
    pub(crate) fn set_routes(&self, table: Arc<RouteTable>) {
        self.ledger.sheet.forget_routes(table.len(), || table.ids().collect());
        self.routes.replace(Rc::new(Composed::new(table)));
    }

    /// Starts the record of a call of the method at `rpc_path`, if its caller may call it. Every call begins here, under
    /// the path that its instance will see, so there is no way around.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`; `OVERLOADED` when there are as many as there may be.
    pub(crate) fn begin(
        &self,
        protocol: Protocol,
        rpc_path: &str,
        identity: Identity,
        principal: Option<&Principal>,
    ) -> Result<Call, Error> {
        let refused = |error: &Error| identity.refused(error.code().grpc());
        let narrow = authorize::authorize(principal, rpc_path)
            .inspect_err(|error| self.shared.instruments.request_refused(error.code().name()))
            .inspect_err(refused)?;
        let calls_max = i64::try_from(self.shared.settings.downstream.calls_max).unwrap_or(i64::MAX);
        if self.calls.get() >= calls_max {
            let error = Error::new(Code::Overloaded, "the gateway has as many calls as it takes");
            refused(&error);
            return Err(error.with_retry_after(RETRY_AFTER));
        }
        let methods = Rc::clone(&self.descriptors().methods);
        let method = methods.get(rpc_path);
        Ok(Call::begin(methods, method, protocol, identity, narrow, self.calls.raise()))
    }

    /// Room for so many more bytes of a request's body.
    ///
    /// # Errors
    /// `OVERLOADED` when there is none.
    pub(crate) fn buffer(self: &Rc<Self>, bytes: usize) -> Result<Buffered, Error> {
        let mut room = Buffered { core: Rc::clone(self), bytes: 0 };
        room.cover(bytes)?;
        Ok(room)
    }
}

/// Room for some bytes, given back when dropped.
#[derive(Debug)]
pub(crate) struct Buffered {
    core: Rc<Core>,
    bytes: usize,
}

impl Buffered {
    /// Makes it room for `bytes` in all, if it is for less.
    ///
    /// # Errors
    /// `OVERLOADED` when the thread has no more.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.saturating_sub(self.bytes);
        let after = self.core.buffered.get().saturating_add(more);
        if after > self.core.shared.settings.json.buffer_bytes_max {
            let text = "the gateway holds as many bytes of requests as it may";
            return Err(Error::new(Code::Overloaded, text).with_retry_after(RETRY_AFTER));
        }
        self.core.buffered.set(after);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.core.buffered.set(self.core.buffered.get().saturating_sub(self.bytes));
    }
}
