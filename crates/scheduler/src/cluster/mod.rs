//! The cluster as this replica sees it: which schedulers live, and who owns which partition.
//!
//! Both come from watches on the coordination store. While that is away the last view stays. It is a view, not the truth:
//! what may be written is decided by the store's fences alone.

mod follow;
mod rendezvous;
mod view;

pub(crate) use follow::follow;
pub(crate) use view::{Identity, View, Views};
