//! Blocking calls into asynchronous connections.
//!
//! The connections live on a runtime of their own. A caller polls its call on its own thread and is woken by that
//! runtime, so that it may be inside another runtime, and so that it encodes and decodes on its own time.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that carry bytes between callers and the server.
const THREADS: usize = 1;

/// The runtime of the connections.
#[derive(Debug)]
pub(super) struct Bridge(Option<Runtime>);

impl Bridge {
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("store-postgres").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// The runtime's handle, for what runs until its connection is dropped.
    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }

    /// Waits for `call`. It may use the timers and sockets of the runtime.
    pub(super) fn wait<F: Future>(&self, call: F) -> F::Output {
        let _entered = self.handle().enter();
        // The caller's own task has a budget that waiting would use up; it is not ours.
        let mut call = pin!(tokio::task::unconstrained(call));
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match call.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed inside another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bridge;

    #[test]
    fn a_call_waits_inside_another_runtime_too() {
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bridge = Bridge::new().unwrap();
        let wait = || {
            bridge.wait(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                7
            })
        };
        // More often than a task may do without giving way.
        other.block_on(async { (0..300).for_each(|_| assert_eq!(wait(), 7)) });
        other.block_on(async { drop(bridge) });
    }
}
