//! As much of JSON Schema (2020-12) as the schema of OpenAPI and the gateway's own schemas use. A keyword that it does not
//! know fails the test.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

/// Keywords that check nothing here.
const SILENT: [&str; 16] = [
    "$id",
    "$schema",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "default",
    "description",
    "format",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "components",
    "then",
    "else",
];

/// A schema that others are parts of.
pub(super) struct Validator<'s> {
    root: &'s Value,
}

/// What a check found: what is wrong, and which properties some keyword spoke of.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    known: BTreeSet<String>,
}

impl Found {
    fn is_fine(&self) -> bool {
        self.wrong.is_empty()
    }

    fn add(&mut self, other: Self) {
        self.wrong.extend(other.wrong);
        self.known.extend(other.known);
    }
}

impl<'s> Validator<'s> {
    pub(super) fn new(root: &'s Value) -> Self {
        Self { root }
    }

    /// What is wrong with a value by the schema at `place` of the root.
    pub(super) fn errors(&self, place: &str, value: &Value) -> Vec<String> {
        self.check(self.at(place), value, "").wrong
    }

    fn at(&self, place: &str) -> &'s Value {
        let pointer = place.strip_prefix('#').unwrap();
        self.root.pointer(pointer).unwrap_or_else(|| panic!("nothing is at {place}"))
    }

    fn check(&self, schema: &'s Value, value: &Value, path: &str) -> Found {
        let mut found = Found::default();
        let keywords = match schema {
            Value::Bool(true) => return found,
            Value::Object(keywords) => keywords,
            _ => {
                found.wrong.push(format!("{path}: may not be there"));
                return found;
            }
        };
        for (keyword, wanted) in keywords.iter().filter(|(keyword, _)| *keyword != "unevaluatedProperties") {
            found.add(self.keyword(keywords, keyword, wanted, value, path));
        }
        if let (Some(rest), Value::Object(map)) = (keywords.get("unevaluatedProperties"), value) {
            for (name, value) in map.iter().filter(|(name, _)| !found.known.contains(*name)).collect::<Vec<_>>() {
                found.add(self.check(rest, value, &format!("{path}/{name}")));
                found.known.insert(name.clone());
            }
        }
        found
    }

    fn keyword(
        &self,
        all: &'s Map<String, Value>,
        keyword: &str,
        wanted: &'s Value,
        value: &Value,
        path: &str,
    ) -> Found {
        let list = || wanted.as_array().unwrap();
        let each =
            |schemas: &'s [Value]| schemas.iter().map(|schema| self.check(schema, value, path)).collect::<Vec<_>>();
        match keyword {
            "$ref" => self.check(self.at(wanted.as_str().unwrap()), value, path),
            "$dynamicRef" => self.check(self.at("#/$defs/schema"), value, path),
            "allOf" => each(list()).into_iter().fold(Found::default(), |mut found, part| {
                found.add(part);
                found
            }),
            "anyOf" | "oneOf" => {
                let fine: Vec<Found> = each(list()).into_iter().filter(Found::is_fine).collect();
                let is_wrong = fine.is_empty() || (keyword == "oneOf" && fine.len() > 1);
                let known = fine.into_iter().flat_map(|found| found.known).collect();
                Found { known, ..wrong_if(is_wrong, path, keyword) }
            }
            "not" => wrong_if(self.check(wanted, value, path).is_fine(), path, keyword),
            "if" => {
                let asked = self.check(wanted, value, path);
                let (branch, mut found) = if asked.is_fine() { ("then", asked) } else { ("else", Found::default()) };
                if let Some(branch) = all.get(branch) {
                    found.add(self.check(branch, value, path));
                }
                found
            }
            _ if SILENT.contains(&keyword) || keyword.starts_with("x-") => Found::default(),
            _ => match value {
                Value::Object(map) => self.object(all, keyword, wanted, map, path),
                Value::Array(items) if keyword == "items" => {
                    let items = items.iter().enumerate();
                    let mut found = Found::default();
                    items.for_each(|(at, item)| {
                        found.wrong.extend(self.check(wanted, item, &format!("{path}/{at}")).wrong)
                    });
                    found
                }
                value => wrong_if(!single(keyword, wanted, value), path, &format!("{keyword} {wanted}: {value:.80}")),
            },
        }
    }

    fn object(
        &self,
        all: &'s Map<String, Value>,
        keyword: &str,
        wanted: &'s Value,
        map: &Map<String, Value>,
        path: &str,
    ) -> Found {
        let mut found = Found::default();
        let mut property = |name: &str, schema: &'s Value| {
            found.wrong.extend(self.check(schema, &map[name], &format!("{path}/{name}")).wrong);
            found.known.insert(name.to_owned());
        };
        let fits = |pattern: &str, name: &str| Regex::new(pattern).unwrap().is_match(name);
        match keyword {
            "properties" => {
                let there = wanted.as_object().unwrap().iter().filter(|(name, _)| map.contains_key(*name));
                there.for_each(|(name, schema)| property(name, schema));
            }
            "patternProperties" => {
                for (pattern, schema) in wanted.as_object().unwrap() {
                    map.keys().filter(|name| fits(pattern, name)).for_each(|name| property(name, schema));
                }
            }
            "additionalProperties" => {
                let named = |name: &str| all.get("properties").is_some_and(|named| named.get(name).is_some());
                let patterns = all.get("patternProperties").and_then(Value::as_object);
                let matched = |name: &str| patterns.is_some_and(|all| all.keys().any(|pattern| fits(pattern, name)));
                map.keys().filter(|name| !named(name) && !matched(name)).for_each(|name| property(name, wanted));
            }
            "propertyNames" => {
                for name in map.keys() {
                    found
                        .wrong
                        .extend(self.check(wanted, &Value::String(name.clone()), &format!("{path}/{name}")).wrong);
                }
            }
            "dependentSchemas" => {
                let all = wanted.as_object().unwrap().iter().filter(|(name, _)| map.contains_key(*name));
                let value = Value::Object(map.clone());
                all.for_each(|(_, schema)| found.add(self.check(schema, &value, path)));
            }
            "required" => {
                let names = wanted.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                found
                    .wrong
                    .extend(names.filter(|name| !map.contains_key(*name)).map(|name| format!("{path}: no {name}")));
            }
            "minProperties" => return wrong_if((map.len() as u64) < wanted.as_u64().unwrap(), path, keyword),
            "maxProperties" => return wrong_if(map.len() as u64 > wanted.as_u64().unwrap(), path, keyword),
            _ => {
                let value = Value::Object(map.clone());
                return wrong_if(!single(keyword, wanted, &value), path, &format!("{keyword} {wanted}"));
            }
        }
        found
    }
}

fn wrong_if(is_wrong: bool, path: &str, what: &str) -> Found {
    Found { wrong: is_wrong.then(|| format!("{path}: {what}")).into_iter().collect(), ..Found::default() }
}

/// True when a value is as a keyword wants it that looks at nothing else.
fn single(keyword: &str, wanted: &Value, value: &Value) -> bool {
    match (keyword, value) {
        ("type", _) => match wanted {
            Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
            kind => is_of(kind, value),
        },
        ("const", _) => value == wanted,
        ("enum", _) => wanted.as_array().unwrap().contains(value),
        ("pattern", Value::String(text)) => Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text),
        ("minimum", Value::Number(number)) => number.as_f64() >= wanted.as_f64(),
        ("maximum", Value::Number(number)) => number.as_f64() <= wanted.as_f64(),
        ("minItems", Value::Array(items)) => items.len() as u64 >= wanted.as_u64().unwrap(),
        (
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "propertyNames"
            | "dependentSchemas"
            | "required"
            | "minProperties"
            | "maxProperties"
            | "items"
            | "pattern"
            | "minimum"
            | "maximum"
            | "minItems",
            _,
        ) => true,
        _ => panic!("the keyword `{keyword}` is not known"),
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match (kind.as_str().unwrap(), value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_))
        | ("string", Value::String(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        ("integer", Value::Number(number)) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

#[test]
fn it_tells_right_from_wrong() {
    use serde_json::json;
    let schema = json!({
        "type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/small"}}, "patternProperties": {"^x-": true},
        "allOf": [{"properties": {"b": {"type": ["string", "null"]}}}],
        "if": {"properties": {"a": {"const": 1}}}, "then": {"properties": {"c": true}}, "else": {"required": ["b"]},
        "unevaluatedProperties": false,
        "$defs": {"small": {"oneOf": [{"type": "integer", "maximum": 3}, {"enum": ["few"]}]}},
    });
    for (value, is_fine) in [
        (json!({"a": 1, "x-y": 1, "c": 1}), true),
        (json!({"a": 2, "b": null}), true),
        (json!({"a": "few", "b": "t"}), true),
        (json!({"a": 2}), false),
        (json!({"a": 4, "b": "t"}), false),
        (json!({"a": 2, "b": "t", "c": 1}), false),
        (json!({"b": "t"}), false),
        (json!({"a": 1, "d": 1}), false),
        (json!([]), false),
    ] {
        assert_eq!(Validator::new(&schema).errors("#", &value).is_empty(), is_fine, "{value}");
    }
}
