//! What a file may write shorter than proto3 JSON, decided by the message that it shall become.
//!
//! - A number or truth value where text belongs is taken as it was written: `argv: [sleep, 1.50]`.
//! - One value where a list belongs is a list of one: `depends_on: merge`.
//! - A length of time may have any unit: `run_timeout: 1h 30m`.
//! - A name of an enum may go without its prefix, in small letters and with dashes: `overlap: buffer-one`.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as Type, MessageDescriptor};

use super::tree::{Kind, Node};

/// Messages with a JSON form of their own begin with this.
const WELL_KNOWN: &str = "google.protobuf.";

/// Brings the fields of a message into the form of proto3 JSON. What does not fit stays as it is, for the error.
pub(super) fn shape(node: &mut Node, message: &MessageDescriptor) {
    let Some(fields) = node.fields_mut() else { return };
    for field in fields {
        let found = message.get_field_by_json_name(&field.name).or_else(|| message.get_field_by_name(&field.name));
        if let Some(descriptor) = found {
            shape_field(&mut field.value, &descriptor);
        }
    }
}

fn shape_field(node: &mut Node, field: &FieldDescriptor) {
    if node.is_null() {
        return;
    }
    let kind = field.kind();
    if field.is_map() {
        let Type::Message(entry) = kind else { return };
        let value = entry.map_entry_value_field().kind();
        for field in node.fields_mut().into_iter().flatten() {
            shape_value(&mut field.value, &value);
        }
    } else if field.is_list() {
        if !matches!(node.kind, Kind::List(_)) {
            let only = node.clone();
            node.kind = Kind::List(vec![only]);
        }
        let Kind::List(items) = &mut node.kind else { return };
        for item in items {
            shape_value(item, &kind);
        }
    } else {
        shape_value(node, &kind);
    }
}

fn shape_value(node: &mut Node, kind: &Type) {
    match kind {
        Type::String => as_text(node),
        Type::Enum(names) => as_name(node, names),
        Type::Message(message) if message.full_name() == "google.protobuf.Duration" => as_seconds(node),
        Type::Message(message) if message.full_name().starts_with(WELL_KNOWN) => {}
        Type::Message(message) => shape(node, message),
        _ => {}
    }
}

fn as_text(node: &mut Node) {
    if let Kind::Plain(value, written) = &node.kind
        && !value.is_null()
    {
        node.kind = Kind::Text(written.clone());
    }
}

fn as_name(node: &mut Node, names: &EnumDescriptor) {
    let Kind::Text(text) = &node.kind else { return };
    if names.get_value_by_name(text).is_some() {
        return;
    }
    let end = format!("_{}", text.to_ascii_uppercase().replace('-', "_"));
    // Every name has the enum's own name in front, so the shortest one is the right one.
    let fits = names.values().filter(|value| value.name().ends_with(&end));
    if let Some(value) = fits.min_by_key(|value| value.name().len()) {
        node.kind = Kind::Text(value.name().to_owned());
    }
}

fn as_seconds(node: &mut Node) {
    let Kind::Text(text) = &node.kind else { return };
    // `1.5s` is the form of JSON, which humantime does not know.
    let is_json = text.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
    if is_json {
        return;
    }
    if let Ok(length) = humantime::parse_duration(text) {
        node.kind = Kind::Text(format!("{}.{:09}s", length.as_secs(), length.subsec_nanos()));
    }
}
