//! Messages and enums as JSON Schemas, each once, as a component of the document. Pure.
//!
//! A component has the full name of its type. Where two services bring different types of one name, the second has a
//! number behind it.

use std::collections::{HashMap, VecDeque};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, Value as Reflected};
use serde_json::{Map, Value, json};

use super::{comments::Comments, known};
use crate::descriptors::identity::Identities;

/// The option that says how a field is used, and its values. Source: `google/api/field_behavior.proto`.
const BEHAVIOR: &str = "google.api.field_behavior";
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const INPUT_ONLY: i32 = 4;
const IMMUTABLE: i32 = 5;

/// Fields that a path sets, so that a body need not have them: each the steps from the message down.
pub(super) type Omitted<'a> = &'a [&'a [FieldDescriptor]];

/// The components so far.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// What authors wrote.
    pub(super) comments: Comments,
    identities: Identities,
    names: HashMap<(String, u64), String>,
    versions: HashMap<String, u32>,
    waiting: VecDeque<(String, Type)>,
    done: Map<String, Value>,
}

#[derive(Debug)]
enum Type {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl Schemas {
    /// None yet; no type gets the name `reserved`.
    pub(super) fn reserving(reserved: &str) -> Self {
        Self { versions: HashMap::from([(reserved.to_owned(), 1)]), ..Self::default() }
    }

    /// A message, by reference.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        let file = message.parent_file();
        self.reference(message.full_name(), &file, || Type::Message(message.clone()))
    }

    /// An enum, by reference; `null` is one too.
    pub(super) fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        if kind.full_name() == "google.protobuf.NullValue" {
            return json!({"type": "null"});
        }
        self.reference(kind.full_name(), &kind.parent_file(), || Type::Enum(kind.clone()))
    }

    /// One value of this kind.
    pub(super) fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(kind) => self.enumeration(kind),
            kind => known::scalar(kind).unwrap_or_default(),
        }
    }

    /// What a field holds: one value, a list or a map.
    pub(super) fn content(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let values = self.value(&entry.map_entry_value_field().kind());
                let mut schema = json!({"type": "object", "additionalProperties": values});
                if let Some(key) = known::key(&entry.map_entry_key_field().kind()) {
                    schema["propertyNames"] = key;
                }
                schema
            }
            kind if field.is_list() => json!({"type": "array", "items": self.value(&kind)}),
            kind => self.value(&kind),
        }
    }

    /// What the author says of a field.
    pub(super) fn comment(&mut self, field: &FieldDescriptor) -> String {
        self.comments.of(&field.parent_message().parent_file(), field.path()).to_owned()
    }

    /// A message without some of its fields; by reference when that changes nothing.
    pub(super) fn message_without(&mut self, message: &MessageDescriptor, omitted: Omitted<'_>) -> Value {
        if omitted.is_empty() || known::message(message.full_name()).is_some() {
            self.message(message)
        } else {
            self.object(message, omitted)
        }
    }

    /// All components, once nothing more is referred to.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        while let Some((name, kind)) = self.waiting.pop_front() {
            let schema = match kind {
                Type::Message(message) => {
                    known::message(message.full_name()).unwrap_or_else(|| self.object(&message, &[]))
                }
                Type::Enum(kind) => self.names_of(&kind),
            };
            self.done.insert(name, schema);
        }
        self.done
    }

    fn reference(&mut self, name: &str, file: &FileDescriptor, kind: impl FnOnce() -> Type) -> Value {
        let identity = self.identities.of(file);
        let component = self.names.entry((name.to_owned(), identity)).or_insert_with(|| {
            let version = self.versions.entry(name.to_owned()).or_default();
            *version += 1;
            let component = if *version == 1 { name.to_owned() } else { format!("{name}-{version}") };
            self.waiting.push_back((component.clone(), kind()));
            component
        });
        json!({"$ref": format!("#/components/schemas/{component}")})
    }

    fn object(&mut self, message: &MessageDescriptor, omitted: Omitted<'_>) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in message.fields() {
            let below: Vec<&[FieldDescriptor]> =
                omitted.iter().filter(|steps| steps.first() == Some(&field)).map(|steps| &steps[1..]).collect();
            if below.iter().any(|steps| steps.is_empty()) {
                continue;
            }
            let (schema, is_required) = self.property(&field, &below);
            if is_required {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut schema = json!({"type": "object", "properties": properties});
        let comment = self.comments.of(&message.parent_file(), message.path());
        if !comment.is_empty() {
            schema["description"] = comment.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if is_deprecated(&message.options()) {
            schema["deprecated"] = true.into();
        }
        let choices: Vec<Value> = choices(message, &schema["properties"]);
        if !choices.is_empty() {
            schema["allOf"] = choices.into();
        }
        schema
    }

    /// The schema of a field in its message, and whether it must be there.
    fn property(&mut self, field: &FieldDescriptor, omitted: Omitted<'_>) -> (Value, bool) {
        let mut schema = match field.kind() {
            Kind::Message(message) if !omitted.is_empty() => self.message_without(&message, omitted),
            _ => self.content(field),
        };
        let comment = self.comment(field);
        if !comment.is_empty() {
            schema["description"] = comment.into();
        }
        let options = field.options();
        if is_deprecated(&options) {
            schema["deprecated"] = true.into();
        }
        let behavior = behavior(field);
        for (value, name) in [(OUTPUT_ONLY, "readOnly"), (INPUT_ONLY, "writeOnly"), (IMMUTABLE, "x-mcp-immutable")] {
            if behavior.contains(&value) {
                schema[name] = true.into();
            }
        }
        let is_proto2_required = field.cardinality() == prost_reflect::Cardinality::Required;
        (schema, is_proto2_required || behavior.contains(&REQUIRED))
    }

    fn names_of(&mut self, kind: &EnumDescriptor) -> Value {
        let names: Vec<String> = kind.values().map(|value| value.name().to_owned()).collect();
        let mut schema = json!({"type": "string", "enum": names});
        let file = kind.parent_file();
        let mut texts = Map::new();
        for value in kind.values() {
            let comment = self.comments.of(&file, value.path());
            if !comment.is_empty() {
                texts.insert(value.name().to_owned(), comment.into());
            }
        }
        if !texts.is_empty() {
            schema["x-mcp-values"] = texts.into();
        }
        let comment = self.comments.of(&file, kind.path());
        if !comment.is_empty() {
            schema["description"] = comment.into();
        }
        if is_deprecated(&kind.options()) {
            schema["deprecated"] = true.into();
        }
        schema
    }
}

/// For each `oneof` of several fields that are there: one of them, or none.
fn choices(message: &MessageDescriptor, properties: &Value) -> Vec<Value> {
    let there = |name: &str| properties.get(name).is_some();
    let groups = message.oneofs().filter(|oneof| !oneof.is_synthetic()).map(|oneof| {
        let names = oneof.fields().map(|field| field.json_name().to_owned()).filter(|name| there(name));
        names.map(|name| json!({"required": [name]})).collect::<Vec<_>>()
    });
    let groups = groups.filter(|fields| fields.len() > 1);
    let none = |fields: &[Value]| json!({"not": {"anyOf": fields}});
    groups.map(|fields| json!({"oneOf": Vec::from_iter(fields.iter().cloned().chain([none(&fields)]))})).collect()
}

/// How the author says that a field is used.
pub(super) fn behavior(field: &FieldDescriptor) -> Vec<i32> {
    let Some(extension) = field.parent_message().parent_pool().get_extension_by_name(BEHAVIOR) else {
        return Vec::new();
    };
    match field.options().get_extension(&extension).as_ref() {
        Reflected::List(values) => values.iter().filter_map(Reflected::as_enum_number).collect(),
        _ => Vec::new(),
    }
}

/// True when a request must have the field.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    behavior(field).contains(&REQUIRED)
}

/// True when only answers have the field.
pub(super) fn is_output_only(field: &FieldDescriptor) -> bool {
    behavior(field).contains(&OUTPUT_ONLY)
}

/// True when options, of whatever kind, say `deprecated`.
pub(super) fn is_deprecated(options: &prost_reflect::DynamicMessage) -> bool {
    options.get_field_by_name("deprecated").and_then(|value| value.as_bool()).unwrap_or_default()
}
