//! Every route, immutable once built: which one a request takes.
//!
//! A request takes the route that comes first: the highest priority; then the most specific host (a name, then names
//! below a longer one, then any); path (with a verb, then segment by segment: a text, then one segment, then the rest);
//! then one that names methods, then more headers, then more query parameters; and at last the id in the alphabet. All
//! routes are put into that order when the table is built, so that "first" is the smallest number.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::{
    arena::Id,
    compiled::CompiledRoute,
    hosts::{Hosts, host_of},
    paths::{self, Paths, Wanted},
    predicate::Head,
};

/// Every route of one moment.
#[derive(Debug)]
pub(crate) struct RouteTable {
    routes: Vec<Arc<CompiledRoute>>,
    /// Places in `routes`, by their order for some host.
    order: Vec<u32>,
    hosts: Hosts<Roots>,
    paths: Paths,
    has_grpc: bool,
    /// Paths of methods by the command of the wire frame that stands for them.
    commands: BTreeMap<u16, String>,
    default: Arc<CompiledRoute>,
}

/// The routes of one host.
#[derive(Debug, Default)]
struct Roots {
    /// By the path of the request.
    http: Option<Id>,
    /// By the path of the gRPC method that the request calls, in whatever form.
    grpc: Option<Id>,
}

/// The route of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'t> {
    /// The route.
    pub(crate) route: &'t Arc<CompiledRoute>,
    /// Its place, below [`RouteTable::len`]; the default route's is just that.
    pub(crate) place: usize,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new(Vec::new(), Arc::new(CompiledRoute::default_route()))
    }
}

impl RouteTable {
    /// A table of these routes.
    pub(crate) fn new(routes: Vec<Arc<CompiledRoute>>, default: Arc<CompiledRoute>) -> Self {
        let count = |len: usize| u32::try_from(len).expect("there are far fewer routes and hosts");
        let mut entries: Vec<_> = routes
            .iter()
            .enumerate()
            .flat_map(|(place, route)| route.hosts.iter().map(move |host| (place, host)))
            .collect();
        entries.sort_unstable_by(|(a, a_host), (b, b_host)| routes[*a].order(a_host, (&routes[*b], b_host)));
        let (mut hosts, mut paths) = (Hosts::<Roots>::default(), paths::Builder::default());
        let mut order = Vec::with_capacity(entries.len());
        for (number, (place, host)) in entries.into_iter().enumerate() {
            let route = &routes[place];
            let roots = hosts.get_mut(host);
            let root = if route.is_grpc { &mut roots.grpc } else { &mut roots.http };
            let root = *root.get_or_insert_with(|| paths.root());
            paths.insert(root, &route.path, route.predicate.exact_header(), count(number));
            order.push(count(place));
        }
        hosts.shrink_to_fit();
        let paths = paths.build();
        let has_grpc = routes.iter().any(|route| route.is_grpc);
        let mut commands = BTreeMap::new();
        // Of routes that give the same command, the one that comes first has it.
        for place in &order {
            if let Some((command, path)) = routes[*place as usize].command.as_deref() {
                commands.entry(*command).or_insert_with(|| path.clone());
            }
        }
        Self { routes, order, hosts, paths, has_grpc, commands, default }
    }

    /// The path of the gRPC method that a command of the wire frame stands for, if a route says so.
    pub(crate) fn method_of(&self, command: u16) -> Option<&str> {
        self.commands.get(&command).map(String::as_str)
    }

    /// How many routes there are, the default one not counted.
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    /// The names of all, the default one included.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().chain([&self.default]).map(|route| &*route.facts.id)
    }

    /// Every route once, in the order in which requests take them.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Arc<CompiledRoute>> {
        let mut seen = vec![false; self.routes.len()];
        let places = self.order.iter().map(|place| *place as usize);
        let places = places.filter(move |place| !std::mem::replace(&mut seen[*place], true));
        places.map(|place| &self.routes[place]).chain([&self.default])
    }

    /// The route of requests that no other has.
    pub(crate) fn default_route(&self) -> Found<'_> {
        Found { route: &self.default, place: self.routes.len() }
    }

    /// True for the route of requests that no other has.
    pub(crate) fn is_default(&self, found: Found<'_>) -> bool {
        found.place == self.routes.len()
    }

    /// The route of a request. `rpc_path` tells the path of the gRPC method that it calls, if it calls one; it is only
    /// asked when there are routes for methods.
    pub(crate) fn find<'r>(&self, head: Head<'r>, rpc_path: impl FnOnce() -> Option<Cow<'r, str>>) -> Found<'_> {
        let nothing = self.default_route();
        if self.routes.is_empty() {
            return nothing;
        }
        let Some(wanted) = Wanted::new(head.uri.path()) else {
            return nothing;
        };
        let rpc_path = if self.has_grpc { rpc_path() } else { None };
        // A gRPC call names its method by its path, which is cut already.
        let other = rpc_path.as_deref().filter(|rpc_path| *rpc_path != head.uri.path());
        let other = other.map(Wanted::new);
        let rpc_wanted = rpc_path.as_ref().and_then(|_| other.as_ref().map_or(Some(&wanted), Option::as_ref));
        let host = if self.hosts.is_any_only() { Cow::Borrowed("") } else { host_of(head.uri, head.headers) };
        let fits = |number: u32| self.at(number).1.predicate.accepts(head);
        let mut best = None;
        self.hosts.visit(&host, |roots| {
            if let Some(root) = roots.http {
                self.paths.find(root, (&wanted, head.headers), &mut best, &fits);
            }
            if let Some((root, wanted)) = roots.grpc.zip(rpc_wanted) {
                self.paths.find(root, (wanted, head.headers), &mut best, &fits);
            }
        });
        best.map_or(nothing, |number| {
            let (place, route) = self.at(number);
            Found { route, place }
        })
    }

    fn at(&self, number: u32) -> (usize, &Arc<CompiledRoute>) {
        let place = self.order[number as usize] as usize;
        (place, &self.routes[place])
    }
}
