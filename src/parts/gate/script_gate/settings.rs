//! A campaign's settings as arguments and replies of the scripts.

use crate::domain::{State, Timestamp};
use crate::parts::gate::reply::{Fields, unknown};
use crate::parts::gate::{EXACT_MAX, GateError, Settings};

/// The settings in the order of the arguments of `configure.lua` and `swap.lua`.
pub(super) fn settings_args(settings: &Settings) -> [String; 8] {
    let instant = |at: Option<Timestamp>| at.map_or_else(String::new, |at| micros(at).to_string());
    [
        settings.epoch.to_string(),
        settings.version.to_string(),
        settings.state.as_str().to_owned(),
        instant(settings.opens_at),
        instant(settings.closes_at),
        settings
            .total_stock
            .map_or_else(String::new, |total| total.min(EXACT_MAX).to_string()),
        settings.per_user_limit.to_string(),
        settings.max_quantity.to_string(),
    ]
}

/// The settings in the order of the reply of `inspect.lua`, which is the order of `settings_args`.
pub(super) fn settings(fields: &mut Fields) -> Result<Settings, GateError> {
    let (epoch, version) = (fields.count()?, fields.count()?);
    let word = fields.text()?;
    Ok(Settings {
        epoch,
        version,
        state: State::parse(&word).ok_or_else(|| unknown(&word))?,
        opens_at: fields.optional_instant()?,
        closes_at: fields.optional_instant()?,
        total_stock: fields.optional_count()?,
        per_user_limit: fields.count32()?,
        max_quantity: fields.count32()?,
    })
}

/// Microseconds since the Unix epoch, the precision of the store and of Redis' own clock, so that a window opens and
/// closes exactly at its configured times.
fn micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}
