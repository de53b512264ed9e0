//! The settings of a campaign that administrators change, as the database had them from time to time, and the actions
//! of the administrators.

use std::time::Duration;

use crate::ledger::ActAnswer;

/// All times are since the run began.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In order. Each was true at some time between its call and its return.
    pub readings: Vec<Reading>,
    /// In order of their responses.
    pub acts: Vec<ActAnswer>,
    /// How old what the database reads may be: a server that is the primary no more may have answered.
    pub lag: Duration,
}

#[derive(Clone, Debug)]
pub struct Reading {
    pub called: Duration,
    pub returned: Duration,
    pub settings: Settings,
}

/// Its times are milliseconds since the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Every change of the fields below raises it by one, except that of the allow list.
    pub version: i64,
    pub state: String,
    pub total: Option<u64>,
    pub limit: u64,
    pub opens_ms: Option<i64>,
    pub closes_ms: Option<i64>,
    pub list: Option<i64>,
}

impl Settings {
    pub fn is(&self, state: &str) -> bool {
        self.state == state
    }
}

impl History {
    /// Settings that may have been in force at some time in this range, each once for each reading.
    pub fn possible(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Settings> {
        let readings = self.readings.iter().enumerate();
        let overlapping = readings.filter(move |(nth, _)| {
            let (since, until) = self.bounds(*nth);
            since <= to && until >= from
        });
        overlapping.map(|(_, reading)| &reading.settings)
    }

    /// Since when and until when the settings of a reading may have been in force, as far as its neighbours say.
    pub fn bounds(&self, nth: usize) -> (Duration, Duration) {
        let before = nth.checked_sub(1).map(|nth| &self.readings[nth]);
        let after = self.readings.get(nth + 1);
        (
            before.map_or(Duration::ZERO, |reading| reading.called),
            after.map_or(Duration::MAX, |reading| reading.returned),
        )
    }

    /// Whether settings that no reading saw may have been in force in this range.
    pub fn has_gap(&self, from: Duration, to: Duration) -> bool {
        self.readings.windows(2).any(|pair| {
            pair[1].settings.version > pair[0].settings.version + 1
                && pair[0].called <= to
                && pair[1].returned >= from
        })
    }

    /// Ranges in which the database certainly had these settings: between readings of the same version.
    pub fn certain(&self) -> impl Iterator<Item = (Duration, Duration, &Settings)> {
        let same = |one: &Reading, other: &Reading| one.settings.version == other.settings.version;
        self.readings.chunk_by(same).map(|chunk| {
            let (first, last) = (&chunk[0], &chunk[chunk.len() - 1]);
            (first.returned, last.called, &first.settings)
        })
    }
}
