//! Something that follows from what is registered, worked out off the data plane, once for each change and only when
//! somebody asks.

use std::{fmt, sync::Arc};

use mcp_proto::Error;
use tokio::{
    runtime::Handle,
    sync::{Mutex, watch},
};

use super::live::Shown;

type Make<T> = dyn Fn(&Shown) -> T + Send + Sync;
/// What it was made of, and what that gave.
type Made<T> = Option<(Shown, Arc<T>)>;

/// A value and how it is made. Clones share it.
pub(crate) struct Derived<T> {
    shown: watch::Receiver<Shown>,
    control: Handle,
    make: Arc<Make<T>>,
    /// Held while it is made, so that it is made once however many ask.
    made: Arc<Mutex<Made<T>>>,
}

impl<T> Clone for Derived<T> {
    fn clone(&self) -> Self {
        Self {
            shown: self.shown.clone(),
            control: self.control.clone(),
            make: Arc::clone(&self.make),
            made: Arc::clone(&self.made),
        }
    }
}

impl<T> fmt::Debug for Derived<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Derived<T> {
    /// Makes it by `make` of what `shown` has, on threads of `control` that may block.
    pub(crate) fn new(
        shown: watch::Receiver<Shown>,
        control: Handle,
        make: impl Fn(&Shown) -> T + Send + Sync + 'static,
    ) -> Self {
        Self { shown, control, make: Arc::new(make), made: Arc::default() }
    }

    /// The value for what is registered now.
    ///
    /// # Errors
    /// `INTERNAL` when making it panicked; the next caller tries again.
    ///
    /// # Cancellation
    /// Dropping the future does not stop the making: the next caller finds the value.
    pub(crate) async fn get(&self) -> Result<Arc<T>, Error> {
        if let Ok(made) = self.made.try_lock()
            && let Some((of, value)) = made.as_ref()
            && of.is(&self.shown.borrow())
        {
            return Ok(Arc::clone(value));
        }
        let this = self.clone();
        self.control.spawn(async move { this.renew().await }).await.map_err(Error::internal)?
    }

    async fn renew(self) -> Result<Arc<T>, Error> {
        let mut made = self.made.lock().await;
        let shown = self.shown.borrow().clone();
        if let Some((of, value)) = made.as_ref()
            && of.is(&shown)
        {
            return Ok(Arc::clone(value));
        }
        let (make, of) = (Arc::clone(&self.make), shown.clone());
        let value = self.control.spawn_blocking(move || make(&of)).await.map_err(Error::internal)?;
        let value = Arc::new(value);
        *made = Some((shown, Arc::clone(&value)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::descriptors::{Snapshot, live::Live};

    fn shown() -> Shown {
        Shown { snapshot: Arc::new(Snapshot::new([])), live: Arc::new(Live::default()) }
    }

    #[tokio::test]
    async fn it_is_made_once_for_each_change_however_many_ask() {
        let (changes, receiver) = watch::channel(shown());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let derived = Derived::new(receiver, Handle::current(), move |_| counted.fetch_add(1, Ordering::SeqCst) + 1);
        let (first, second) = tokio::join!(derived.get(), derived.get());
        assert_eq!((*first.unwrap(), *second.unwrap()), (1, 1));
        assert_eq!(*derived.get().await.unwrap(), 1);
        changes.send_replace(shown());
        assert_eq!((*derived.get().await.unwrap(), *derived.clone().get().await.unwrap()), (2, 2));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_next_one_tries_again() {
        let (_changes, receiver) = watch::channel(shown());
        let tries = AtomicUsize::new(0);
        let derived = Derived::new(receiver, Handle::current(), move |_| {
            assert!(tries.fetch_add(1, Ordering::SeqCst) > 0, "the first try");
        });
        assert!(derived.get().await.is_err());
        assert!(derived.get().await.is_ok());
    }
}
