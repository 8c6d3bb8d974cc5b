//! Which workers may run a task: the bounds of `Placement`, and its form for the engine.

use std::sync::Arc;

use mcp_engine::{LabelRule, Operator, Resources, Strategy, Toleration};
use mcp_proto::scheduler::v1::{self, LabelOperator, Placement, PlacementStrategy};

use super::{
    fields::{Violations, length_fault},
    spec::Root,
};

/// Most rules, and most tolerations.
const RULES_MAX: usize = 16;
/// Values that one rule may name.
const VALUES_MAX: usize = 64;
/// Longest name of a label or a taint.
pub(super) const LABEL_KEY_BYTES_MAX: usize = 63;
/// Longest value of a label or a taint.
pub(super) const LABEL_VALUE_BYTES_MAX: usize = 255;

/// Notes what is wrong with a placement.
pub(super) fn check(placement: &Placement, root: Root, violations: &mut Violations) {
    let lists = [("rules", placement.rules.len()), ("tolerations", placement.tolerations.len())];
    for (name, len) in lists.into_iter().filter(|(_, len)| *len > RULES_MAX) {
        let fault = format!("has {len} elements; at most {RULES_MAX} are allowed");
        violations.add(root.field(format_args!("placement.{name}")), fault);
    }
    for (index, rule) in placement.rules.iter().enumerate().take(RULES_MAX) {
        if let Some((name, fault)) = rule_fault(rule) {
            violations.add(root.field(format_args!("placement.rules[{index}].{name}")), fault);
        }
    }
    for (index, toleration) in placement.tolerations.iter().enumerate().take(RULES_MAX) {
        let value_fault = || length_fault(toleration.value(), LABEL_VALUE_BYTES_MAX).map(|fault| ("value", fault));
        if let Some((name, fault)) = key_fault(&toleration.key).map(|fault| ("key", fault)).or_else(value_fault) {
            violations.add(root.field(format_args!("placement.tolerations[{index}].{name}")), fault);
        }
    }
    if PlacementStrategy::try_from(placement.strategy).is_err() {
        violations.add(root.field("placement.strategy"), format!("{} is not a strategy", placement.strategy));
    }
}

/// Why a text is no name of a label or a taint, if so.
pub(super) fn key_fault(key: &str) -> Option<String> {
    let right = (1..=LABEL_KEY_BYTES_MAX).contains(&key.len());
    (!right).then(|| format!("must be 1 to {LABEL_KEY_BYTES_MAX} bytes long"))
}

fn rule_fault(rule: &v1::LabelRule) -> Option<(&'static str, String)> {
    if let Some(fault) = key_fault(&rule.key) {
        return Some(("key", fault));
    }
    let values = rule.values.len();
    let fault = match LabelOperator::try_from(rule.operator) {
        Err(_) | Ok(LabelOperator::Unspecified) => {
            return Some(("operator", format!("{} is not an operator", rule.operator)));
        }
        Ok(LabelOperator::In | LabelOperator::NotIn) if !(1..=VALUES_MAX).contains(&values) => {
            format!("has {values} elements; IN and NOT_IN need 1 to {VALUES_MAX}")
        }
        Ok(LabelOperator::Exists | LabelOperator::DoesNotExist) if values != 0 => {
            format!("has {values} elements; EXISTS and DOES_NOT_EXIST take none")
        }
        Ok(LabelOperator::Gt | LabelOperator::Lt)
            if values != 1 || rule.values.iter().any(|value| value.parse::<i64>().is_err()) =>
        {
            "must be one whole number for GT and LT".to_owned()
        }
        Ok(_) => {
            return rule
                .values
                .iter()
                .find_map(|value| length_fault(value, LABEL_VALUE_BYTES_MAX))
                .map(|fault| ("values", fault));
        }
    };
    Some(("values", fault))
}

/// A checked placement for the engine; `None` when it asks for nothing, so that such tasks cost nothing.
pub(super) fn of(wire: Option<&Placement>) -> Option<Arc<mcp_engine::Placement>> {
    let wire = wire?;
    let placement = mcp_engine::Placement {
        rules: wire.rules.iter().map(rule).collect(),
        tolerations: wire.tolerations.iter().map(toleration).collect(),
        request: Resources { cpu_millis: wire.cpu_millis.into(), memory_bytes: wire.memory_bytes },
        strategy: match wire.strategy() {
            PlacementStrategy::Unspecified => None,
            PlacementStrategy::BinPack => Some(Strategy::BinPack),
            PlacementStrategy::Spread => Some(Strategy::Spread),
            PlacementStrategy::LeastLoaded => Some(Strategy::LeastLoaded),
        },
        preempt: wire.preempt,
    };
    (placement != mcp_engine::Placement::default()).then(|| Arc::new(placement))
}

fn rule(wire: &v1::LabelRule) -> LabelRule {
    LabelRule {
        key: wire.key.as_str().into(),
        operator: match wire.operator() {
            LabelOperator::NotIn => Operator::NotIn,
            LabelOperator::Exists => Operator::Exists,
            LabelOperator::DoesNotExist => Operator::DoesNotExist,
            LabelOperator::Gt => Operator::Gt,
            LabelOperator::Lt => Operator::Lt,
            LabelOperator::In | LabelOperator::Unspecified => Operator::In,
        },
        values: wire.values.iter().map(|value| value.as_str().into()).collect(),
    }
}

fn toleration(wire: &v1::Toleration) -> Toleration {
    Toleration { key: wire.key.as_str().into(), value: wire.value.as_deref().map(Into::into) }
}
