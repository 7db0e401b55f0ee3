//! Converts values to JSON text and back.

use crate::error::Error;
use serde::de::DeserializeOwned;
use serde::ser::{self, Serialize, Serializer};
use serde_json::error::Category;
use std::any::type_name;
use std::fmt;

/// The deepest that a value may be nested: `serde_json` reads nothing deeper.
const MAX_DEPTH: u8 = 127;

/// Returns the JSON text of a value, from which the value can be read again.
pub(super) fn to_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<String, Error> {
    match value.serialize(Check { depth_left: MAX_DEPTH }) {
        // If the `Serialize` of the value fails, it fails again below, with a better error.
        Ok(()) | Err(Unreadable::Other) => {}
        Err(unreadable) => return Err(Error::Encode { key: key.to_owned(), source: Box::new(unreadable) }),
    }
    serde_json::to_string(value).map_err(|error| unwritable::<T>(key, &error))
}

/// Reads a value from JSON text. If the text is `null` and a `T` cannot be null, gives `None`: the application had set
/// an `Option` that was `None`.
pub(crate) fn from_json<T: DeserializeOwned>(key: &str, json: &str) -> Result<Option<T>, Error> {
    match serde_json::from_str(json) {
        Ok(value) => Ok(Some(value)),
        Err(_) if json == "null" => Ok(None),
        Err(error) => Err(Error::Decode { key: key.to_owned(), source: Box::new(JsonFault::new::<T>(&error)) }),
    }
}

fn unwritable<T: ?Sized>(key: &str, error: &serde_json::Error) -> Error {
    let what = match error.classify() {
        Category::Syntax => "a map in it has a key that is neither text nor a number",
        _ => "its Serialize implementation failed",
    };
    Error::Encode { key: key.to_owned(), source: format!("{what} ({})", type_name::<T>()).into() }
}

/// An error of `serde_json`. Its own message may show the value, and this one does not.
#[derive(Debug)]
pub(crate) struct JsonFault {
    what: &'static str,
    wanted: &'static str,
    line: usize,
    column: usize,
}

impl JsonFault {
    pub(crate) fn new<T>(error: &serde_json::Error) -> JsonFault {
        let what = match error.classify() {
            Category::Data => "it is of another type",
            Category::Eof => "it ends too early",
            Category::Syntax => "it is not JSON",
            Category::Io => "it cannot be read",
        };
        JsonFault { what, wanted: type_name::<T>(), line: error.line(), column: error.column() }
    }
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JsonFault { what, wanted, line, column } = self;
        write!(f, "{what} ({wanted}, line {line}, column {column})")
    }
}

impl std::error::Error for JsonFault {}

/// A serializer that only checks. It refuses a value that `serde_json` would write but could not read again.
#[derive(Clone, Copy)]
struct Check {
    depth_left: u8,
}

#[derive(Debug)]
enum Unreadable {
    NotFinite,
    TooDeep,
    Other,
}

impl Check {
    fn deeper(self) -> Result<Check, Unreadable> {
        let depth_left = self.depth_left.checked_sub(1).ok_or(Unreadable::TooDeep)?;
        Ok(Check { depth_left })
    }

    fn finite(number: f64) -> Result<(), Unreadable> {
        if number.is_finite() { Ok(()) } else { Err(Unreadable::NotFinite) }
    }
}

/// Makes the methods for types whose values are always valid.
macro_rules! fine {
    ($($method:ident($($argument:ty),*);)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<(), Unreadable> {
            Ok(())
        }
    )*};
}

impl Serializer for Check {
    type Ok = ();
    type Error = Unreadable;
    type SerializeSeq = Check;
    type SerializeTuple = Check;
    type SerializeTupleStruct = Check;
    type SerializeTupleVariant = Check;
    type SerializeMap = Check;
    type SerializeStruct = Check;
    type SerializeStructVariant = Check;

    fine! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_f32(self, number: f32) -> Result<(), Unreadable> {
        Check::finite(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), Unreadable> {
        Check::finite(number)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<(), Unreadable> {
        Ok(())
    }

    /// An array of numbers.
    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unreadable> {
        self.deeper().map(drop)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unreadable> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unreadable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unreadable> {
        value.serialize(self.deeper()?)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Check, Unreadable> {
        self.deeper()
    }

    fn serialize_tuple(self, _: usize) -> Result<Check, Unreadable> {
        self.deeper()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Check, Unreadable> {
        self.deeper()
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Check, Unreadable> {
        self.deeper()?.deeper()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Check, Unreadable> {
        self.deeper()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Check, Unreadable> {
        // Numbers and raw texts of `serde_json` look like structs, but are not.
        if name.starts_with("$serde_json::private::") { Ok(self) } else { self.deeper() }
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Check, Unreadable> {
        self.deeper()?.deeper()
    }
}

/// Makes the methods for types that contain values. Each of these is checked.
macro_rules! holds {
    ($($holder:ident $method:ident($($name:ty)?);)*) => {$(
        impl ser::$holder for Check {
            type Ok = ();
            type Error = Unreadable;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<(), Unreadable> {
                value.serialize(*self)
            }

            fn end(self) -> Result<(), Unreadable> {
                Ok(())
            }
        }
    )*};
}

holds! {
    SerializeSeq serialize_element();
    SerializeTuple serialize_element();
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
    SerializeStruct serialize_field(&'static str);
    SerializeStructVariant serialize_field(&'static str);
}

impl ser::SerializeMap for Check {
    type Ok = ();
    type Error = Unreadable;

    /// Allows every key: `serde_json` refuses those that JSON cannot have.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Unreadable> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unreadable> {
        value.serialize(*self)
    }

    fn end(self) -> Result<(), Unreadable> {
        Ok(())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::NotFinite => f.write_str("it holds a number that is NaN or infinite, which JSON does not have"),
            Unreadable::TooDeep => write!(f, "it is nested more than {MAX_DEPTH} deep, so it could not be read again"),
            Unreadable::Other => f.write_str("its Serialize implementation failed"),
        }
    }
}

impl std::error::Error for Unreadable {}

impl ser::Error for Unreadable {
    fn custom<T: fmt::Display>(_: T) -> Unreadable {
        Unreadable::Other
    }
}
