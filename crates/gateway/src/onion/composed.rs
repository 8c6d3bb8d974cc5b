//! The routes of one snapshot, with their layers put together for one data-plane thread.

use std::{cell::OnceCell, rc::Rc, sync::Arc};

use super::{
    plan::{Site, compose},
    service::LocalService,
};
use crate::routes::{
    facts::Taken,
    table::{Found, RouteTable},
};

/// A table and what its routes are made of here. Layers are put together when the first request of their route comes, so
/// that thousands of routes that nobody asks for cost nothing.
#[derive(Debug)]
pub(crate) struct Composed {
    table: Arc<RouteTable>,
    here: Vec<OnceCell<Here>>,
}

/// A route as this thread has it.
#[derive(Debug)]
pub(crate) struct Here {
    /// What is read of it.
    pub(crate) taken: Rc<Taken>,
    /// Its layers around the inside; `None` when it has none.
    pub(crate) layers: Option<LocalService>,
}

impl Composed {
    /// Nothing is put together yet.
    pub(crate) fn new(table: Arc<RouteTable>) -> Self {
        // One more for the default route.
        let here = std::iter::repeat_with(OnceCell::new).take(table.len() + 1).collect();
        Self { table, here }
    }

    /// The routes.
    pub(crate) fn table(&self) -> &RouteTable {
        &self.table
    }

    /// A route with its layers around the inside of `site`.
    pub(crate) fn here(&self, found: Found<'_>, site: impl FnOnce() -> Site) -> &Here {
        self.here[found.place].get_or_init(|| {
            let layers = &found.route.layers;
            let layers = if layers.is_empty() { None } else { Some(compose(layers, &site())) };
            Here { taken: Taken::new(Arc::clone(&found.route.facts)), layers }
        })
    }
}
