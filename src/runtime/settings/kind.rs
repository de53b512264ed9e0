//! The types of settings: how each is read, written and described.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::Value;

/// Printed in place of a secret.
const MASK: &str = "********";

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `500ms`, `2m`.
    Duration,
    /// Text, also if it looks like a number.
    Text,
    /// Text that is never printed.
    Secret,
    /// Texts, as one text with commas between them or as a list.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A type that a setting can have.
pub trait Setting: Sized {
    /// Reads a value.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// How a value is written.
    fn kind() -> Kind;

    /// The value; null if it is absent, masked if it is secret.
    fn value(&self) -> Value;
}

/// A setting of any type.
pub trait AnySetting {
    /// How it is written.
    fn kind(&self) -> Kind;

    /// The value; null if it is absent, masked if it is secret.
    fn value(&self) -> Value;
}

impl<T: Setting> AnySetting for T {
    fn kind(&self) -> Kind {
        T::kind()
    }

    fn value(&self) -> Value {
        Setting::value(self)
    }
}

/// Reads a value: serde's form of [`Setting::read`].
pub fn read<'de, T: Setting, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::read(deserializer)
}

/// A value as serde reads it.
struct Read<T>(T);

impl<'de, T: Setting> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<Read<T>>::deserialize(deserializer)?;
        Ok(value.map(|Read(value)| value))
    }

    fn kind() -> Kind {
        T::kind()
    }

    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Setting::value)
    }
}

impl Setting for Duration {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        humantime_serde::deserialize(deserializer)
    }

    fn kind() -> Kind {
        Kind::Duration
    }

    fn value(&self) -> Value {
        duration_text(*self).into()
    }
}

impl Setting for SecretString {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn kind() -> Kind {
        Kind::Secret
    }

    fn value(&self) -> Value {
        MASK.into()
    }
}

/// Implements [`Setting`] for types that serde reads: their kind, and what makes a JSON value of one.
macro_rules! plain {
    ($kind:ident: $($type:ty),+ => $value:expr) => {
        $(impl $crate::runtime::settings::Setting for $type {
            fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$type as serde::Deserialize>::deserialize(deserializer)
            }

            fn kind() -> $crate::runtime::settings::Kind {
                $crate::runtime::settings::Kind::$kind
            }

            fn value(&self) -> serde_json::Value {
                let value: fn(&$type) -> _ = $value;
                serde_json::Value::from(value(self))
            }
        })+
    };
}
pub(crate) use plain;

plain!(Boolean: bool => |value| *value);
plain!(Integer: u16, u32, u64, usize => |value| *value);
plain!(Number: f64 => |value| *value);
plain!(Text: String => |text| text.clone());
plain!(Text: SocketAddr => ToString::to_string);
plain!(Text: PathBuf => |path| path.display().to_string());

/// Implements [`Setting`] for an enum whose variants serde names.
macro_rules! choice {
    ($type:ty) => {
        impl $crate::runtime::settings::Setting for $type {
            fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$type as serde::Deserialize>::deserialize(deserializer)
            }

            fn kind() -> $crate::runtime::settings::Kind {
                $crate::runtime::settings::Kind::Choice($crate::runtime::settings::words::<$type>())
            }

            fn value(&self) -> serde_json::Value {
                serde_json::to_value(self).unwrap_or_default()
            }
        }
    };
}
pub(crate) use choice;

/// The words of an enum, as serde names its variants.
#[must_use]
pub fn words<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut words: &'static [&'static str] = &[];
    // It reports the words and then fails, on purpose.
    drop(T::deserialize(Words(&mut words)));
    words
}

/// A deserializer that notes the variants of the enum that is read.
struct Words<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Words<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("not an enum"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        Err(serde::de::Error::custom("the variants are noted"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A duration in its largest unit that divides it: `90s`, `15m`, `7d`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    let largest = units
        .into_iter()
        .find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit));
    match largest {
        Some((unit, name)) => format!("{}{name}", nanos / unit),
        None if nanos == 0 => "0s".to_owned(),
        None => format!("{nanos}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, serde::Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Fruit {
        Apple,
        Pear,
    }

    #[test]
    fn the_words_of_an_enum_are_those_of_serde() {
        assert_eq!(words::<Fruit>(), ["apple", "pear"]);
        assert_eq!(words::<String>(), [""; 0]);
        assert_eq!(serde_json::to_value(Fruit::Pear).unwrap(), "pear");
        assert!(serde_json::from_str::<Fruit>("\"apple\"").is_ok());
    }

    #[test]
    fn a_duration_is_written_in_its_largest_unit() {
        for (millis, text) in [(0, "0s"), (500, "500ms"), (90_000, "90s"), (900_000, "15m")] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration_text(Duration::from_secs(7 * 86_400)), "7d");
    }
}
