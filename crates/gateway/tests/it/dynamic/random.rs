//! Random messages that proto3 JSON can express.

use bytes::Bytes;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
    prost::Message,
    prost_types::{self, Timestamp},
};
use rand::{Rng, rngs::StdRng};

/// Deepest message in a message.
const DEPTH_MAX: usize = 4;

/// Longest list or map.
const ITEMS_MAX: usize = 3;

/// A message of this type.
pub(crate) fn message(kind: &MessageDescriptor, dice: &mut StdRng, depth: usize) -> DynamicMessage {
    if let Some(known) = well_known(kind, dice, depth) {
        return known;
    }
    let mut message = DynamicMessage::new(kind.clone());
    for field in kind.fields() {
        let is_message = matches!(field.kind(), Kind::Message(_));
        if dice.random_bool(0.6) || (is_message && depth >= DEPTH_MAX) {
            continue;
        }
        let value = field_value(&field, dice, depth);
        message.set_field(&field, value);
    }
    message
}

fn field_value(field: &FieldDescriptor, dice: &mut StdRng, depth: usize) -> Value {
    let len = dice.random_range(0..=ITEMS_MAX);
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let entries = (0..len).map(|_| {
                let key = match value(&entry.map_entry_key_field().kind(), dice, depth) {
                    Value::Bool(key) => MapKey::Bool(key),
                    Value::I64(key) => MapKey::I64(key),
                    Value::U32(key) => MapKey::U32(key),
                    Value::String(key) => MapKey::String(key),
                    other => panic!("no key: {other:?}"),
                };
                (key, value(&entry.map_entry_value_field().kind(), dice, depth))
            });
            Value::Map(entries.collect())
        }
        kind if field.is_list() => Value::List((0..len).map(|_| value(&kind, dice, depth)).collect()),
        kind => value(&kind, dice, depth),
    }
}

fn value(kind: &Kind, dice: &mut StdRng, depth: usize) -> Value {
    match kind {
        Kind::Double => Value::F64(*pick(dice, &[0.0, -1.5, 1e300, f64::MIN_POSITIVE, 0.1, f64::INFINITY, 42.0])),
        Kind::Float => Value::F32(*pick(dice, &[0.0, -1.5, 1e38, f32::MIN_POSITIVE, 0.1, f32::NEG_INFINITY, 7.0])),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(dice.random()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(dice.random()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(dice.random()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(dice.random()),
        Kind::Bool => Value::Bool(dice.random()),
        Kind::String => Value::String(text(dice)),
        Kind::Bytes => {
            Value::Bytes(Bytes::from((0..dice.random_range(0..9)).map(|_| dice.random()).collect::<Vec<u8>>()))
        }
        // Numbers without a name survive too.
        Kind::Enum(kind) if kind.full_name() == "google.protobuf.NullValue" => Value::EnumNumber(0),
        Kind::Enum(_) => Value::EnumNumber(*pick(dice, &[0, 1, 2, 77, -1])),
        Kind::Message(kind) => Value::Message(message(kind, dice, depth + 1)),
    }
}

fn pick<'a, T>(dice: &mut StdRng, values: &'a [T]) -> &'a T {
    &values[dice.random_range(0..values.len())]
}

fn text(dice: &mut StdRng) -> String {
    (0..dice.random_range(0..6))
        .map(|_| *pick(dice, &['a', 'Z', ' ', '"', '\\', '\n', '\0', 'é', '漢', '🦀', '%', '+']))
        .collect()
}

/// A message whose JSON is not an object of its fields.
fn well_known(kind: &MessageDescriptor, dice: &mut StdRng, depth: usize) -> Option<DynamicMessage> {
    let finite = |value: Value| {
        let mut message = DynamicMessage::new(kind.clone());
        message.set_field_by_name("value", value);
        Some(message)
    };
    let encoded = match kind.full_name() {
        // prost-reflect, which writes what the test sends, makes `null` of those that are not finite.
        "google.protobuf.DoubleValue" => return finite(Value::F64(*pick(dice, &[0.0, -1.5, 1e300]))),
        "google.protobuf.FloatValue" => return finite(Value::F32(*pick(dice, &[0.0, 0.1, 1e30]))),
        "google.protobuf.Timestamp" => Timestamp {
            seconds: dice.random_range(-62_135_596_800..=253_402_300_799),
            nanos: *pick(dice, &[0, 1, 120_000_000, 999_999_999]),
        }
        .encode_to_vec(),
        "google.protobuf.Duration" => {
            let seconds: i64 = dice.random_range(-315_576_000_000..=315_576_000_000);
            let nanos = *pick(dice, &[0, 1, 250_000_000]) * i32::try_from(seconds.signum()).unwrap();
            prost_types::Duration { seconds, nanos }.encode_to_vec()
        }
        "google.protobuf.FieldMask" => {
            let paths = ["f_int64", "inner.deeper.name", "a"].into_iter().take(dice.random_range(0..4));
            prost_types::FieldMask { paths: paths.map(str::to_owned).collect() }.encode_to_vec()
        }
        "google.protobuf.Value" => json(dice, depth).encode_to_vec(),
        "google.protobuf.Struct" => object(dice, depth).encode_to_vec(),
        "google.protobuf.ListValue" => list(dice, depth).encode_to_vec(),
        "google.protobuf.Any" => {
            let names = ["sink.v1.Inner", "google.protobuf.Duration", "google.protobuf.Struct", "sink.v1.Everything"];
            let name = *pick(dice, &names);
            let inner = message(&kind.parent_pool().get_message_by_name(name)?, dice, depth + 1);
            let type_url = format!("type.googleapis.com/{name}");
            prost_types::Any { type_url, value: inner.encode_to_vec() }.encode_to_vec()
        }
        _ => return None,
    };
    Some(DynamicMessage::decode(kind.clone(), encoded.as_slice()).unwrap())
}

fn json(dice: &mut StdRng, depth: usize) -> prost_types::Value {
    use prost_types::value::Kind;
    let leaf = depth >= DEPTH_MAX;
    let kind = match dice.random_range(0..if leaf { 4 } else { 6 }) {
        0 => Kind::NullValue(0),
        1 => Kind::BoolValue(dice.random()),
        2 => Kind::NumberValue(*pick(dice, &[0.0, 1.0, -2.5, 1e100])),
        3 => Kind::StringValue(text(dice)),
        4 => Kind::StructValue(object(dice, depth + 1)),
        _ => Kind::ListValue(list(dice, depth + 1)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn object(dice: &mut StdRng, depth: usize) -> prost_types::Struct {
    let len = dice.random_range(0..=ITEMS_MAX);
    prost_types::Struct { fields: (0..len).map(|_| (text(dice), json(dice, depth))).collect() }
}

fn list(dice: &mut StdRng, depth: usize) -> prost_types::ListValue {
    let len = dice.random_range(0..=ITEMS_MAX);
    prost_types::ListValue { values: (0..len).map(|_| json(dice, depth)).collect() }
}
