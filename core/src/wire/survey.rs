//! Walks a value as postcard would, writing nothing: counts the bytes and finds the Guids.
//!
//! Authors put Guids into their messages and never think of contacts. The engine surveys what it sends and puts
//! beside it the contacts of those the receiver was not told of yet, so that whoever hears of a peer can dial it.
//! The simulator counts traffic by the same walk.

use core::fmt::Display;

use serde::ser::{self, Serialize};

use crate::Guid;
use crate::guid::GUID;

/// The Guids inside a value, in order, repeats included.
pub fn mentions<V: Serialize + ?Sized>(value: &V, found: &mut Vec<Guid>) {
    let mut survey = Survey { len: 0, in_guid: false, found: Some(found) };
    // The walk itself cannot fail; a `Serialize` that fails would fail again, loudly, when it is encoded.
    let _ = value.serialize(&mut survey);
}

/// How many bytes postcard makes of a value.
pub fn encoded_len<V: Serialize + ?Sized>(value: &V) -> usize {
    let mut survey = Survey { len: 0, in_guid: false, found: None };
    let _ = value.serialize(&mut survey);
    survey.len
}

struct Survey<'a> {
    len: usize,
    in_guid: bool,
    found: Option<&'a mut Vec<Guid>>,
}

/// A `Serialize` implementation gave up.
#[derive(Debug)]
struct GaveUp;

impl Display for GaveUp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a value refused to be serialized")
    }
}

impl core::error::Error for GaveUp {}

impl ser::Error for GaveUp {
    fn custom<M: Display>(_: M) -> Self {
        Self
    }
}

fn varint_len(value: u128) -> usize {
    (128 - value.leading_zeros() as usize).div_ceil(7).max(1)
}

fn zigzag(value: i128) -> u128 {
    (value << 1 ^ value >> 127) as u128
}

impl Survey<'_> {
    fn add(&mut self, bytes: usize) -> Result<(), GaveUp> {
        self.len += bytes;
        Ok(())
    }
    fn varint(&mut self, value: u128) -> Result<(), GaveUp> {
        self.add(varint_len(value))
    }
}

impl<'a, 'b> ser::Serializer for &'a mut Survey<'b> {
    type Ok = ();
    type Error = GaveUp;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_bool(self, _: bool) -> Result<(), GaveUp> {
        self.add(1)
    }
    fn serialize_i8(self, _: i8) -> Result<(), GaveUp> {
        self.add(1)
    }
    fn serialize_i16(self, v: i16) -> Result<(), GaveUp> {
        self.varint(zigzag(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Result<(), GaveUp> {
        self.varint(zigzag(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Result<(), GaveUp> {
        self.varint(zigzag(v.into()))
    }
    fn serialize_i128(self, v: i128) -> Result<(), GaveUp> {
        self.varint(zigzag(v))
    }
    fn serialize_u8(self, _: u8) -> Result<(), GaveUp> {
        self.add(1)
    }
    fn serialize_u16(self, v: u16) -> Result<(), GaveUp> {
        self.varint(v.into())
    }
    fn serialize_u32(self, v: u32) -> Result<(), GaveUp> {
        self.varint(v.into())
    }
    fn serialize_u64(self, v: u64) -> Result<(), GaveUp> {
        self.varint(v.into())
    }
    fn serialize_u128(self, v: u128) -> Result<(), GaveUp> {
        self.varint(v)
    }
    fn serialize_f32(self, _: f32) -> Result<(), GaveUp> {
        self.add(4)
    }
    fn serialize_f64(self, _: f64) -> Result<(), GaveUp> {
        self.add(8)
    }
    fn serialize_char(self, v: char) -> Result<(), GaveUp> {
        self.add(1 + v.len_utf8())
    }
    fn serialize_str(self, v: &str) -> Result<(), GaveUp> {
        self.add(varint_len(v.len() as u128) + v.len())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<(), GaveUp> {
        if let (true, Some(found), Ok(guid)) = (self.in_guid, self.found.as_mut(), <[u8; 32]>::try_from(v)) {
            found.push(Guid(guid));
        }
        self.add(varint_len(v.len() as u128) + v.len())
    }
    fn serialize_none(self) -> Result<(), GaveUp> {
        self.add(1)
    }
    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<(), GaveUp> {
        self.len += 1;
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), GaveUp> {
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), GaveUp> {
        Ok(())
    }
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), GaveUp> {
        self.varint(index.into())
    }
    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, name: &'static str, value: &V) -> Result<(), GaveUp> {
        self.in_guid = name == GUID;
        let done = value.serialize(&mut *self);
        self.in_guid = false;
        done
    }
    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &V,
    ) -> Result<(), GaveUp> {
        self.varint(index.into())?;
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Self, GaveUp> {
        self.varint(len.unwrap_or(0) as u128)?;
        Ok(self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, GaveUp> {
        Ok(self)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, GaveUp> {
        Ok(self)
    }
    fn serialize_tuple_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, GaveUp> {
        self.varint(index.into())?;
        Ok(self)
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Self, GaveUp> {
        self.varint(len.unwrap_or(0) as u128)?;
        Ok(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, GaveUp> {
        Ok(self)
    }
    fn serialize_struct_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, GaveUp> {
        self.varint(index.into())?;
        Ok(self)
    }
    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! walk_elements {
    ($($form:ident :: $method:ident),*) => {$(
        impl ser::$form for &mut Survey<'_> {
            type Ok = ();
            type Error = GaveUp;
            fn $method<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), GaveUp> {
                value.serialize(&mut **self)
            }
            fn end(self) -> Result<(), GaveUp> {
                Ok(())
            }
        }
    )*};
}
walk_elements!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! walk_fields {
    ($($form:ident),*) => {$(
        impl ser::$form for &mut Survey<'_> {
            type Ok = ();
            type Error = GaveUp;
            fn serialize_field<V: Serialize + ?Sized>(&mut self, _: &'static str, value: &V) -> Result<(), GaveUp> {
                value.serialize(&mut **self)
            }
            fn end(self) -> Result<(), GaveUp> {
                Ok(())
            }
        }
    )*};
}
walk_fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for &mut Survey<'_> {
    type Ok = ();
    type Error = GaveUp;
    fn serialize_key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<(), GaveUp> {
        key.serialize(&mut **self)
    }
    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), GaveUp> {
        value.serialize(&mut **self)
    }
    fn end(self) -> Result<(), GaveUp> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Serialize, Debug, Clone)]
    enum Message {
        Nothing,
        One(Guid),
        Many { peers: Vec<Guid>, at: u64, off: i64, text: String, ratio: f64, maybe: Option<(u16, char)> },
        Map(BTreeMap<u32, Guid>, [u8; 3], bool),
    }

    fn guid() -> impl Strategy<Value = Guid> {
        any::<[u8; 32]>().prop_map(Guid)
    }

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            Just(Message::Nothing),
            guid().prop_map(Message::One),
            (prop::collection::vec(guid(), 0..200), any::<(u64, i64, String, f64, Option<(u16, char)>)>()).prop_map(
                |(peers, (at, off, text, ratio, maybe))| Message::Many { peers, at, off, text, ratio, maybe }
            ),
            (prop::collection::btree_map(any::<u32>(), guid(), 0..9), any::<([u8; 3], bool)>())
                .prop_map(|(map, (bytes, flag))| Message::Map(map, bytes, flag)),
        ]
    }

    proptest! {
        #[test]
        fn the_length_is_postcards(message in message()) {
            prop_assert_eq!(encoded_len(&message), postcard::to_stdvec(&message).unwrap().len());
        }

        #[test]
        fn every_guid_is_found_and_nothing_else(message in message()) {
            let mut found = Vec::new();
            mentions(&message, &mut found);
            let expected = match message {
                Message::Nothing => vec![],
                Message::One(guid) => vec![guid],
                Message::Many { peers, .. } => peers,
                Message::Map(map, ..) => map.into_values().collect(),
            };
            prop_assert_eq!(found, expected);
        }
    }
}
