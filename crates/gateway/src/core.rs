//! What a data-plane thread works with.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Method;
use mcp_proto::{Code, Error};
use prost_reflect::DescriptorPool;
use tokio::runtime::Handle;

use crate::{
    call::{Call, LogFields},
    config::GatewaySettings,
    metrics::{Instruments, Level, Methods, Protocol},
    trace::Identity,
    transcode::router::Router,
    upstream::{Described, Upstreams},
};

/// When a refused caller should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What all threads share. Nothing in it changes but the flags of [`State`].
#[derive(Debug)]
pub(crate) struct Shared {
    /// The settings.
    pub(crate) settings: GatewaySettings,
    /// The HTTP routes.
    pub(crate) router: Router,
    /// Descriptors of the services that the gateway knows without asking them.
    pub(crate) pool: DescriptorPool,
    /// What is counted.
    pub(crate) instruments: Instruments,
    /// Where the gateway is in its life.
    pub(crate) state: State,
    /// The control plane's runtime, for work that would hold up calls.
    pub(crate) control: Handle,
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

    /// True while calls are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_started() && !self.draining.load(Ordering::Acquire)
    }
}

/// One data-plane thread's own.
#[derive(Debug)]
pub(crate) struct Core {
    /// What it shares with the others.
    pub(crate) shared: Arc<Shared>,
    /// Its connections to instances.
    pub(crate) upstreams: Upstreams,
    /// The gateway's own gRPC services: health and reflection.
    pub(crate) own: tonic::service::Routes,
    methods: Rc<Methods>,
    calls: Arc<Level>,
    buffered: Cell<usize>,
}

impl Described for DescriptorPool {
    fn has_service(&self, name: &str) -> bool {
        self.get_service_by_name(name).is_some()
    }
}

impl Core {
    /// The state of thread number `index`.
    pub(crate) fn new(shared: Arc<Shared>, own: tonic::service::Routes, index: usize) -> Self {
        let settings = Rc::new(shared.settings.upstream.clone());
        let described = Rc::new(shared.pool.clone());
        Self {
            upstreams: Upstreams::new(settings, shared.instruments.clone(), described),
            methods: Rc::new(Methods::new(&shared.instruments, &shared.pool)),
            calls: Arc::clone(&shared.instruments.calls[index]),
            buffered: Cell::new(0),
            own,
            shared,
        }
    }

    /// Starts the record of a call of the method at `rpc_path`.
    ///
    /// # Errors
    /// `OVERLOADED` when there are as many as there may be.
    pub(crate) fn begin(
        &self,
        protocol: Protocol,
        rpc_path: &str,
        identity: Identity,
        http: (&Method, &str),
        peer: SocketAddr,
    ) -> Result<Call, Error> {
        let calls_max = i64::try_from(self.shared.settings.downstream.calls_max).unwrap_or(i64::MAX);
        if self.calls.get() >= calls_max {
            return Err(
                Error::new(Code::Overloaded, "the gateway has as many calls as it takes").with_retry_after(RETRY_AFTER)
            );
        }
        let log = self.shared.settings.access_log.then(|| LogFields {
            method: http.0.clone(),
            path: http.1.to_owned(),
            peer,
        });
        let method = self.methods.get(rpc_path);
        Ok(Call::begin(Rc::clone(&self.methods), method, protocol, identity, log, self.calls.raise()))
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
