//! One field line of a head.
//!
//! Owns: the field record and the inline table of them. Must never know: requests or responses.

use super::{FieldName, Span};

/// No request has more field lines, whatever the configured limit says: the worker's HEAD frame has at
/// most 128, and the proxy adds some.
pub const REQUEST_FIELDS_CAP: usize = 112;

/// No response has more field lines, whatever the configured limit says.
pub const RESPONSE_FIELDS_CAP: usize = 256;

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Field {
    /// The name as sent.
    pub name: Span,
    /// The value as sent, without surrounding white space.
    pub value: Span,
    /// Which field it is, whatever the spelling.
    pub known: FieldName,
    /// The number of exactly this spelling in the worker protocol; 0 when it has none.
    pub number: u8,
}

/// The fields of a head, inline so that a head never allocates.
#[derive(Clone)]
pub(crate) struct FieldTable<const CAP: usize> {
    fields: [Field; CAP],
    len: u16,
}

impl<const CAP: usize> FieldTable<CAP> {
    pub(crate) const fn new() -> Self {
        const EMPTY: Field = Field {
            name: Span { start: 0, end: 0 },
            value: Span { start: 0, end: 0 },
            known: FieldName::Other,
            number: 0,
        };
        Self { fields: [EMPTY; CAP], len: 0 }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// The caller never passes more than `CAP` fields: the tokeniser's array is no larger.
    #[inline]
    pub(crate) fn push(&mut self, field: Field) {
        self.fields[self.len as usize] = field;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[Field] {
        &self.fields[..self.len as usize]
    }
}
