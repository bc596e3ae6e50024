//! A value as it was typed: its text and where it begins.
//!
//! Owns: taking any value out of the tree as text, so that `30`, `"30"` and an option's `30` are read by the same code.
//! Must never know: what is expected; the kind is only carried along. Used by `keys`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// A value of some kind.
#[derive(Debug)]
pub(crate) struct Typed<K> {
    scalar: Scalar,
    span: Range<usize>,
    kind: PhantomData<K>,
}

#[derive(Clone, Debug)]
enum Scalar {
    Text(String),
    /// A number, true or false.
    Other(String),
    Array(Vec<Spanned<Self>>),
    /// Names and values, in the order of the file.
    Table(Vec<(String, Spanned<Self>)>),
    Date,
}

impl<K> Typed<K> {
    /// The text, none if it is of a type that is never good here.
    pub(super) fn text(&self, string_only: bool) -> Option<&str> {
        match &self.scalar {
            Scalar::Text(text) => Some(text),
            Scalar::Other(text) => (!string_only).then_some(text),
            Scalar::Array(_) | Scalar::Table(_) | Scalar::Date => None,
        }
    }

    /// The values of a table, each with its name; none if it is something else.
    pub(super) fn entries<E>(&self) -> Option<Vec<(&str, Typed<E>)>> {
        let Scalar::Table(entries) = &self.scalar else { return None };
        let typed = entries.iter().map(|(name, value)| (name.as_str(), Typed::from(value.clone())));
        Some(typed.collect())
    }

    /// Bytes of the file.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl<K> From<Spanned<Scalar>> for Typed<K> {
    fn from(spanned: Spanned<Scalar>) -> Self {
        let span = spanned.span();
        Self { scalar: spanned.into_inner(), span, kind: PhantomData }
    }
}

impl<'de, K> Deserialize<'de> for Typed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// How the `toml` crate hands over a date: as a table with one such key (`toml_datetime::de`).
const DATE: &str = "$__toml_private_";

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Scalar;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Other(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Scalar, E> {
        Ok(Scalar::Other(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Scalar, E> {
        Ok(Scalar::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        // `Debug` keeps the point of 4.0, which is no whole number.
        Ok(Scalar::Other(format!("{value:?}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Scalar::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.starts_with(DATE) {
                map.next_value::<IgnoredAny>()?;
                return Ok(Scalar::Date);
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Scalar::Table(entries))
    }
}

/// One value, or an array of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<K>(Vec<Typed<K>>);

/// An array.
#[derive(Debug)]
pub(crate) struct Many<K>(Vec<Typed<K>>);

impl<K> OneOrMany<K> {
    /// All of them.
    pub(crate) fn values(&self) -> &[Typed<K>] {
        &self.0
    }
}

impl<K> Many<K> {
    /// All of them.
    pub(crate) fn values(&self) -> &[Typed<K>] {
        &self.0
    }
}

impl<'de, K> Deserialize<'de> for OneOrMany<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Scalar>::deserialize(deserializer)?;
        let span = spanned.span();
        Ok(match spanned.into_inner() {
            Scalar::Array(elements) => Self(elements.into_iter().map(Typed::from).collect()),
            scalar => Self(vec![Typed { scalar, span, kind: PhantomData }]),
        })
    }
}

impl<'de, K> Deserialize<'de> for Many<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Array(elements) => Ok(Self(elements.into_iter().map(Typed::from).collect())),
            _ => Err(D::Error::custom("an array is expected: [\"one\", \"two\"]")),
        }
    }
}
