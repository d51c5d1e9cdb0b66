//! How the types are read from and written to JSON: names for closed sets of values, and the rule that an
//! empty text is the same as an absent one (as in the reference implementation, whose types have no "absent").

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};

/// Makes an enum of a closed set of names, so that a value that was read is known to be one of them.
macro_rules! named {
    (
        $(#[$about:meta])*
        $title:literal
        pub enum $kind:ident { $( $(#[$doc:meta])* $variant:ident = $name:literal, )+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $kind { $( $(#[$doc])* $variant, )+ }

        impl $kind {
            /// Every value, in the order of the specification.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The name as it stands in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }

            /// The value of this name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $name => Some(Self::$variant), )+ _ => None }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::spec::encoding::Named for $kind {
            const TITLE: &'static str = $title;

            fn names() -> impl Iterator<Item = &'static str> {
                Self::ALL.iter().map(|value| value.as_str())
            }

            fn from_name(name: &str) -> Option<Self> {
                Self::from_name(name)
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str($crate::spec::encoding::NameVisitor::new())
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(in crate::spec) use named;

/// Makes types that are written as objects readable from objects only. What serde derives would also take a
/// list of the fields' values, so that `"linux": []` would pass.
macro_rules! objects {
    ($($kind:ty),+ $(,)?) => {
        $(
            impl<'de> serde::Deserialize<'de> for $kind {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    // What `remote = "Self"` derives, as a function of the type itself.
                    <$kind>::deserialize($crate::spec::encoding::ObjectOnly(deserializer))
                }
            }

            impl serde::Serialize for $kind {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    <$kind>::serialize(self, serializer)
                }
            }
        )+
    };
}
pub(in crate::spec) use objects;

/// Hands a struct's fields over by name, never by position.
pub(in crate::spec) struct ObjectOnly<D>(pub(in crate::spec) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A closed set of names.
pub(in crate::spec) trait Named: Sized {
    /// What one of them is, with its article: `a namespace`.
    const TITLE: &'static str;

    /// All of them.
    fn names() -> impl Iterator<Item = &'static str>;

    /// The value of this name.
    fn from_name(name: &str) -> Option<Self>;
}

/// Reads a [`Named`] without allocating, and lists what is allowed when it fails.
pub(in crate::spec) struct NameVisitor<T>(PhantomData<T>);

impl<T> NameVisitor<T> {
    pub(in crate::spec) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Named> Visitor<'_> for NameVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", T::TITLE)?;
        for (index, name) in T::names().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        T::from_name(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }
}

/// Reads an optional text-like value, where `""` means that it is absent.
pub(in crate::spec) fn non_empty<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct NonEmpty<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for NonEmpty<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
            if text.is_empty() { Ok(None) } else { T::deserialize(text.into_deserializer()).map(Some) }
        }
    }

    deserializer.deserialize_any(NonEmpty(PhantomData))
}

/// Whether a value is what an absent one is read as, and so is left out when writing.
pub(in crate::spec) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
