//! A field after its definition: the meaning of its absence and of null, in the reader and in the schema.

use poem_openapi::registry::MetaSchema;

use super::Fields;

/// The value of a field that can be set, cleared or left unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<T> {
    /// The field is not in the object.
    Absent,
    /// `null`.
    Null,
    Value(T),
}

impl<T> Field<T> {
    /// The value, where null and absence mean the same.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// None: leave unchanged; Some(None): clear.
    #[allow(
        clippy::option_option,
        reason = "the store's change has this shape: leave unchanged, clear or set"
    )]
    pub fn change(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }
}

impl<T> Field<Option<T>> {
    /// An empty value counts as absent.
    pub fn flatten(self) -> Field<T> {
        match self {
            Self::Value(Some(value)) => Field::Value(value),
            Self::Null => Field::Null,
            Self::Value(None) | Self::Absent => Field::Absent,
        }
    }
}

/// A field that is defined and, if it has a value, read. The last call defines the meaning of its absence.
#[must_use]
pub struct Defined<'a, T> {
    pub(super) fields: &'a mut Fields,
    pub(super) name: &'static str,
    /// None: the value has a fault, which is noted.
    pub(super) value: Option<Field<T>>,
}

impl<'a, T> Defined<'a, T> {
    /// Converts the value, or records its fault.
    pub fn try_map<U, P: Into<String>>(
        self,
        map: impl FnOnce(T) -> Result<U, P>,
    ) -> Defined<'a, U> {
        let Self {
            fields,
            name,
            value,
        } = self;
        let value = match value {
            Some(Field::Value(value)) => match map(value) {
                Ok(value) => Some(Field::Value(value)),
                Err(problem) => {
                    fields.wrong(name, problem);
                    None
                }
            },
            Some(Field::Null) => Some(Field::Null),
            Some(Field::Absent) => Some(Field::Absent),
            None => None,
        };
        Defined {
            fields,
            name,
            value,
        }
    }

    /// Converts the value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Defined<'a, U> {
        self.try_map(|value| Ok::<_, String>(map(value)))
    }

    /// Notes a fault of a value that does not satisfy this.
    pub fn ensure(self, holds: impl FnOnce(&T) -> bool, problem: &'static str) -> Self {
        self.try_map(|value| {
            if holds(&value) {
                Ok(value)
            } else {
                Err(problem)
            }
        })
    }

    /// Adds to the schema a rule that the reader checks in another way.
    pub fn in_schema(self, add: impl FnOnce(&mut MetaSchema)) -> Self {
        if let Some(own) = self.fields.schema.as_mut().and_then(|schema| schema.last()) {
            add(own);
        }
        self
    }

    /// Adds the pattern of a text to the schema.
    pub fn pattern(self, pattern: &str) -> Self {
        self.in_schema(|own| own.pattern = Some(pattern.to_owned()))
    }

    /// The field must be in the object. Returns the default value after noting a fault.
    pub fn required(self) -> T
    where
        T: Default,
    {
        if let Some(schema) = &mut self.fields.schema {
            schema.require();
        }
        let problem = match self.value {
            Some(Field::Value(value)) => return value,
            Some(Field::Null) => "must not be null",
            Some(Field::Absent) => "is missing",
            None => return T::default(),
        };
        self.fields.wrong(self.name, problem);
        T::default()
    }

    /// The field may be left out but not be null.
    pub fn optional(self) -> Option<T> {
        match self.value {
            Some(Field::Value(value)) => Some(value),
            Some(Field::Null) => {
                self.fields.wrong(self.name, "must not be null");
                None
            }
            Some(Field::Absent) | None => None,
        }
    }

    /// The field may be left out and may be null; the schema says so.
    pub fn nullable(self) -> Field<T> {
        self.in_schema(|own| own.nullable = true).lenient()
    }

    /// The same, and the schema does not mention null.
    pub fn lenient(self) -> Field<T> {
        self.value.unwrap_or(Field::Absent)
    }
}
