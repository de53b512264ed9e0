//! The types of settings: how each is read, written and described.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;

use crate::domain::words::Word;

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
    /// Text, even if it looks like a number.
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

/// Implements [`Setting`] for types that serde reads: their kind, and the conversion to a JSON value.
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

impl<T: Word + DeserializeOwned> Setting for T {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn kind() -> Kind {
        Kind::Choice(T::WORDS)
    }

    fn value(&self) -> Value {
        self.word().into()
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
    use crate::domain::words::words;

    words! {
        enum Fruit {
            Apple = "apple",
            Pear = "pear",
        }
    }

    #[test]
    fn an_enum_is_written_and_read_as_its_words() {
        assert_eq!(<Fruit as Setting>::kind(), Kind::Choice(&["apple", "pear"]));
        assert_eq!(
            Fruit::ALL.map(|fruit| Setting::value(&fruit)),
            ["apple", "pear"]
        );
        assert_eq!(serde_json::to_value(Fruit::Pear).unwrap(), "pear");
        assert_eq!(
            serde_json::from_str::<Fruit>("\"apple\"").unwrap(),
            Fruit::Apple
        );
        assert!(serde_json::from_str::<Fruit>("\"Apple\"").is_err());
    }

    #[test]
    fn a_duration_is_written_in_its_largest_unit() {
        for (millis, text) in [(0, "0s"), (500, "500ms"), (90_000, "90s"), (900_000, "15m")] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration_text(Duration::from_secs(7 * 86_400)), "7d");
    }
}
