//! Which workers a task fits: the flags, and the small language of label rules.

use clap::{Args, ValueEnum};
use mcp_proto::scheduler::v1::{LabelOperator, LabelRule, Placement, PlacementStrategy, Toleration};

use super::parse::{cpu, memory};

/// How a label rule may be written, for messages.
const RULE_FORMS: &str =
    "write `zone in (a, b)`, `zone notin (a)`, `zone=a`, `zone!=a`, `gpu exists`, `!spot`, `cores > 4` or `cores < 64`";

/// Flags that say which workers may run a task.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Placement")]
pub struct PlacementFlags {
    /// What a worker's labels must be like: `zone in (a, b)`, `zone notin (a)`, `zone=a`, `zone!=a`, `gpu exists`, `!spot`,
    /// `cores > 4`, `cores < 64`; can be given more than once, and then all must hold.
    #[arg(long, value_parser = label_rule, value_name = "RULE")]
    pub label_rule: Vec<LabelRule>,
    /// Taint of workers that the task puts up with; without a value any value of it. Can be given more than once.
    #[arg(long, value_parser = toleration, value_name = "KEY[=VALUE]")]
    pub tolerate: Vec<Toleration>,
    /// CPU that the task takes: cores (`2`, `0.5`) or thousandths of one (`500m`).
    #[arg(long, value_parser = cpu, value_name = "CORES")]
    pub cpu: Option<u32>,
    /// Memory that the task takes: `512MiB`, `1.5GiB`, `200MB`.
    #[arg(long, value_parser = memory, value_name = "BYTES")]
    pub memory: Option<u64>,
    /// Which of the workers that have room is best. Without it `spread`.
    #[arg(long, value_enum)]
    pub strategy: Option<Strategy>,
    /// When no matching worker has room, stop a running task of lower priority for this one.
    #[arg(long)]
    pub preempt: bool,
}

/// A strategy, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// The worker with the least room left.
    BinPack,
    /// The worker with the most free slots.
    Spread,
    /// The worker with the smallest part of its CPU and memory in use.
    LeastLoaded,
}

impl From<Strategy> for PlacementStrategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::BinPack => Self::BinPack,
            Strategy::Spread => Self::Spread,
            Strategy::LeastLoaded => Self::LeastLoaded,
        }
    }
}

impl PlacementFlags {
    /// The placement that the flags describe; `None` without any of them.
    pub fn placement(&self) -> Option<Placement> {
        if *self == Self::default() {
            return None;
        }
        Some(Placement {
            rules: self.label_rule.clone(),
            tolerations: self.tolerate.clone(),
            cpu_millis: self.cpu.unwrap_or_default(),
            memory_bytes: self.memory.unwrap_or_default(),
            strategy: self.strategy.map_or(PlacementStrategy::Unspecified, PlacementStrategy::from).into(),
            preempt: self.preempt,
        })
    }
}

/// `KEY` or `KEY=VALUE`.
fn toleration(text: &str) -> Result<Toleration, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        return Err("write KEY or KEY=VALUE".to_owned());
    }
    Ok(Toleration { key: key.to_owned(), value })
}

/// One rule in one of the [forms](RULE_FORMS).
fn label_rule(text: &str) -> Result<LabelRule, String> {
    let wrong = |why: &str| format!("`{text}` is no rule ({why}); {RULE_FORMS}");
    let text = text.trim();
    let (key, operator, values) = if let Some(key) = text.strip_prefix('!') {
        (key.trim(), LabelOperator::DoesNotExist, Vec::new())
    } else {
        let end = text.find(|c: char| c.is_whitespace() || "=!<>(),".contains(c)).unwrap_or(text.len());
        let (key, rest) = text.split_at(end);
        let (operator, values) = comparison(rest.trim()).map_err(|why| wrong(&why))?;
        (key, operator, values)
    };
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "=!<>(),".contains(c)) {
        return Err(wrong("the label's name is missing or wrong"));
    }
    Ok(LabelRule { key: key.to_owned(), operator: operator.into(), values })
}

/// What follows the label's name.
fn comparison(text: &str) -> Result<(LabelOperator, Vec<String>), String> {
    let one = |value: &str| match value.trim() {
        "" => Err("the value is missing".to_owned()),
        value if value.contains([' ', '=', '(', ')', ',']) => Err(format!("`{value}` is not one value")),
        value => Ok(vec![value.to_owned()]),
    };
    let number = |value: &str| match value.trim().parse::<i64>() {
        Ok(number) => Ok(vec![number.to_string()]),
        Err(_) => Err(format!("`{}` is not a whole number", value.trim())),
    };
    // The longer signs come first.
    if let Some(value) = text.strip_prefix("!=") {
        return Ok((LabelOperator::NotIn, one(value)?));
    }
    if let Some(value) = text.strip_prefix("==").or_else(|| text.strip_prefix('=')) {
        return Ok((LabelOperator::In, one(value)?));
    }
    if let Some(value) = text.strip_prefix('>') {
        return Ok((LabelOperator::Gt, number(value)?));
    }
    if let Some(value) = text.strip_prefix('<') {
        return Ok((LabelOperator::Lt, number(value)?));
    }
    let (words, list) = match text.split_once('(') {
        Some((words, list)) => (words, Some(list)),
        None => (text, None),
    };
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (&*words, list) {
        ([] | ["exists"], None) => Ok((LabelOperator::Exists, Vec::new())),
        (["in"], Some(list)) => Ok((LabelOperator::In, values(list)?)),
        (["notin"] | ["not", "in"], Some(list)) => Ok((LabelOperator::NotIn, values(list)?)),
        (["in" | "notin"] | ["not", "in"], None) => Err("its values belong into brackets".to_owned()),
        _ => Err(format!("`{text}` is not a comparison")),
    }
}

/// `a, b)`: what follows the opening bracket.
fn values(list: &str) -> Result<Vec<String>, String> {
    let inner = list.strip_suffix(')').ok_or("the closing bracket is missing or not at the end")?;
    let values: Vec<String> = inner.split(',').map(|value| value.trim().to_owned()).collect();
    if values.iter().any(|value| value.is_empty() || value.contains([' ', '(', ')', '='])) {
        return Err("its values must be words between commas".to_owned());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::LabelOperator::{self, DoesNotExist, Exists, Gt, In, Lt, NotIn};

    use super::{label_rule, toleration};

    #[test]
    fn rules_are_read() {
        let cases: [(&str, &str, LabelOperator, &[&str]); 18] = [
            ("zone in (a,b)", "zone", In, &["a", "b"]),
            ("zone IN ( a , b )", "zone", In, &["a", "b"]),
            ("zone in(a)", "zone", In, &["a"]),
            ("zone not in (a)", "zone", NotIn, &["a"]),
            ("zone notin (a, b, c)", "zone", NotIn, &["a", "b", "c"]),
            ("zone=a", "zone", In, &["a"]),
            ("zone == a", "zone", In, &["a"]),
            ("zone!=a", "zone", NotIn, &["a"]),
            ("zone != a", "zone", NotIn, &["a"]),
            ("gpu exists", "gpu", Exists, &[]),
            ("gpu", "gpu", Exists, &[]),
            ("!spot", "spot", DoesNotExist, &[]),
            ("! spot", "spot", DoesNotExist, &[]),
            ("cores > 4", "cores", Gt, &["4"]),
            ("cores>4", "cores", Gt, &["4"]),
            ("cores < -2", "cores", Lt, &["-2"]),
            ("example.com/tier=gold-1.2", "example.com/tier", In, &["gold-1.2"]),
            ("in in (in)", "in", In, &["in"]),
        ];
        for (text, key, operator, values) in cases {
            let rule = label_rule(text).unwrap();
            assert_eq!((rule.key.as_str(), rule.operator(), rule.values), (key, operator, owned(values)), "{text}");
        }
    }

    fn owned(values: &[&str]) -> Vec<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, why) in [
            ("", "name is missing"),
            ("!", "name is missing"),
            ("! a b", "name is missing"),
            ("= a", "name is missing"),
            ("zone in a", "not a comparison"),
            ("zone in", "brackets"),
            ("zone in ()", "words between commas"),
            ("zone in (a,)", "words between commas"),
            ("zone in (a", "closing bracket"),
            ("zone in (a) x", "closing bracket"),
            ("zone in (a b)", "words between commas"),
            ("zone =", "value is missing"),
            ("zone = a b", "not one value"),
            ("zone =a,b", "not one value"),
            ("cores > many", "whole number"),
            ("cores > 1.5", "whole number"),
            ("cores >= 4", "whole number"),
            ("zone like a", "not a comparison"),
        ] {
            let error = label_rule(text).unwrap_err();
            assert!(error.contains(why) && error.contains("zone in (a, b)"), "`{text}`: {error}");
        }
    }

    #[test]
    fn a_toleration_without_a_value_is_for_any() {
        assert_eq!(toleration("spot").unwrap().value, None);
        assert_eq!(toleration("tier=").unwrap().value.as_deref(), Some(""));
        assert_eq!(toleration("tier=a=b").unwrap().value.as_deref(), Some("a=b"));
        assert!(toleration("=a").is_err());
    }
}
