//! Which layers there are, and in what order.

use std::sync::Arc;

use mcp_proto::gateway::v1::Layer;

use super::{
    body_limit, compression, cors, headers, log, mirror,
    plan::{Plan, Planner, Subject, When},
    timeout,
};
use crate::routes::{predicate::Condition, violations::Violations};

/// Most layers by name of one route or policy.
const NAMED_MAX: usize = 16;

/// Every layer that a section of the settings asks for, the outermost first:
///
/// 1. changes of answers and errors, which see every outcome;
/// 2. CORS, since browsers ask without credentials first;
/// 3. compression of answers;
/// 4. the limit on bodies, before anybody reads one;
/// 5. the timeout;
/// 6. layers by name, in the order of the settings;
/// 7. changes of requests, which nothing but an instance sees;
/// 8. copies.
const LAYERS: &[Planner] = &[
    headers::answers,
    cors::plan,
    compression::plan,
    body_limit::plan,
    timeout::plan,
    named,
    headers::requests,
    mirror::plan,
];

/// Makes a layer of what `settings.layers` says under its name. The text is the path of its settings.
type Named = fn(&Layer, &str, &mut Violations) -> Option<Arc<dyn Plan>>;

/// Layers by name.
const NAMED: &[(&str, Named)] = &[
    ("log", log::plan),
    #[cfg(test)]
    ("example", super::example::plan),
];

/// The layers of a route, the outermost first.
pub(crate) fn plan(subject: &Subject<'_>, wrong: &mut Violations) -> Vec<Arc<dyn Plan>> {
    LAYERS.iter().flat_map(|planner| planner(subject, wrong)).collect()
}

fn named(subject: &Subject<'_>, wrong: &mut Violations) -> Vec<Arc<dyn Plan>> {
    let layers = &subject.settings.layers;
    wrong.at_most(layers.len(), NAMED_MAX, "settings.layers");
    let mut plans = Vec::new();
    for (index, layer) in layers.iter().take(NAMED_MAX).enumerate() {
        let at = format!("settings.layers[{index}]");
        let Some((_, planner)) = NAMED.iter().find(|(name, _)| *name == layer.name) else {
            let names: Vec<_> = NAMED.iter().map(|(name, _)| *name).collect();
            wrong.add(format!("{at}.name"), format!("is `{}`, must be one of: {}", layer.name, names.join(", ")));
            continue;
        };
        let condition = Condition::compile_any(layer.when.as_ref(), &format!("{at}.when"), wrong);
        let plan = planner(layer, &format!("{at}.settings"), wrong);
        plans.extend(plan.map(|plan| When::wrap(condition, plan)));
    }
    plans
}
