//! Numbers that JSON has no numbers for: `"NaN"`, `"Infinity"`, `"-Infinity"`.
//!
//! prost-reflect writes them so in plain fields, but leaves those in `DoubleValue` and `FloatValue` to serde_json, which
//! writes `null`.

use serde::{
    Serialize, Serializer,
    ser::{Error, Impossible, SerializeMap, SerializeSeq},
};

/// A serializer, or a part of one, that writes such numbers as text. It knows what protobuf's JSON consists of, and
/// refuses all else.
pub(crate) struct Finite<T>(pub(crate) T);

/// The text of a number that is none.
fn text(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn foreign<E: Error>() -> E {
    E::custom("this is nothing that a message consists of")
}

/// A value that is written by such a serializer.
struct Within<'a, T: ?Sized>(&'a T);

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Finite(serializer))
    }
}

impl<T: SerializeSeq> SerializeSeq for Finite<T> {
    type Ok = T::Ok;
    type Error = T::Error;

    fn serialize_element<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), T::Error> {
        self.0.serialize_element(&Within(value))
    }

    fn end(self) -> Result<T::Ok, T::Error> {
        self.0.end()
    }
}

impl<T: SerializeMap> SerializeMap for Finite<T> {
    type Ok = T::Ok;
    type Error = T::Error;

    fn serialize_key<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), T::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), T::Error> {
        self.0.serialize_value(&Within(value))
    }

    fn end(self) -> Result<T::Ok, T::Error> {
        self.0.end()
    }
}

/// Methods that only pass a value on.
macro_rules! pass {
    ($($method:ident: $kind:ty,)+) => {
        $(fn $method(self, value: $kind) -> Result<T::Ok, T::Error> {
            self.0.$method(value)
        })+
    };
}

impl<T: Serializer> Serializer for Finite<T> {
    type Ok = T::Ok;
    type Error = T::Error;
    type SerializeSeq = Finite<T::SerializeSeq>;
    type SerializeMap = Finite<T::SerializeMap>;
    type SerializeTuple = Impossible<T::Ok, T::Error>;
    type SerializeTupleStruct = Impossible<T::Ok, T::Error>;
    type SerializeTupleVariant = Impossible<T::Ok, T::Error>;
    type SerializeStruct = Impossible<T::Ok, T::Error>;
    type SerializeStructVariant = Impossible<T::Ok, T::Error>;

    pass! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_f32(self, value: f32) -> Result<T::Ok, T::Error> {
        if value.abs() == f32::MAX {
            // Its shortest form rounds up, and readers, prost-reflect among them, find that out of range.
            self.0.serialize_f64(f64::from(value))
        } else if value.is_finite() {
            self.0.serialize_f32(value)
        } else {
            self.0.serialize_str(text(f64::from(value)))
        }
    }

    fn serialize_f64(self, value: f64) -> Result<T::Ok, T::Error> {
        if value.is_finite() { self.0.serialize_f64(value) } else { self.0.serialize_str(text(value)) }
    }

    fn serialize_none(self) -> Result<T::Ok, T::Error> {
        self.0.serialize_none()
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<T::Ok, T::Error> {
        self.0.serialize_some(&Within(value))
    }

    fn serialize_unit(self) -> Result<T::Ok, T::Error> {
        self.0.serialize_unit()
    }

    fn collect_str<V: std::fmt::Display + ?Sized>(self, value: &V) -> Result<T::Ok, T::Error> {
        self.0.collect_str(value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, T::Error> {
        self.0.serialize_seq(len).map(Finite)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, T::Error> {
        self.0.serialize_map(len).map(Finite)
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, _: &'static str, value: &V) -> Result<T::Ok, T::Error> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<T::Ok, T::Error> {
        Err(foreign())
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &V,
    ) -> Result<T::Ok, T::Error> {
        Err(foreign())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, T::Error> {
        Err(foreign())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, T::Error> {
        Err(foreign())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, T::Error> {
        Err(foreign())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, T::Error> {
        Err(foreign())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, T::Error> {
        Err(foreign())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl Serialize) -> String {
        let mut json = serde_json::Serializer::new(Vec::new());
        value.serialize(Finite(&mut json)).unwrap();
        String::from_utf8(json.into_inner()).unwrap()
    }

    #[test]
    fn numbers_that_are_none_are_texts_at_any_depth() {
        let map = std::collections::BTreeMap::from([("a", vec![f64::NAN, 1.5]), ("b", vec![f64::NEG_INFINITY])]);
        assert_eq!(json(map), r#"{"a":["NaN",1.5],"b":["-Infinity"]}"#);
        assert_eq!(json([f32::INFINITY].as_slice()), r#"["Infinity"]"#);
        assert_eq!(json(None::<f64>), "null");
    }

    #[test]
    fn the_largest_float_is_one_when_it_is_read_again() {
        let text = json(f32::MAX);
        assert!(text.parse::<f64>().unwrap() <= f64::from(f32::MAX), "{text}");
    }
}
