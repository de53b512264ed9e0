//! A rate: requests in a period.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::parts::gate::Bucket;
use crate::runtime::settings::{duration_text, plain};

/// Requests in a period, written `20/1s`; that many may arrive at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    /// Requests, at least 1.
    pub requests: u32,
    /// The period.
    pub period: Duration,
}

/// A text is not a rate.
#[derive(Debug, thiserror::Error)]
#[error("must be REQUESTS/PERIOD, such as 20/1s: 1 to 1000000 requests in 1ms to 1d")]
pub struct RateError;

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{}",
            self.requests,
            duration_text(self.period)
        )
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (requests, period) = text.split_once('/').ok_or(RateError)?;
        let requests: u32 = requests.trim().parse().map_err(|_| RateError)?;
        let period =
            humantime_serde::re::humantime::parse_duration(period.trim()).map_err(|_| RateError)?;
        let is_sensible = (1..=1_000_000).contains(&requests)
            && (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&period);
        let rate = Self { requests, period };
        is_sensible.then_some(rate).ok_or(RateError)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Rate> for Bucket {
    fn from(rate: Rate) -> Self {
        Self {
            tokens: rate.requests,
            token: rate.period / rate.requests,
        }
    }
}

plain!(Text: Rate => ToString::to_string);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_parsed_or_rejected_with_the_expected_format() {
        let rate: Rate = "20/1s".parse().unwrap();
        assert_eq!((rate.requests, rate.period), (20, Duration::from_secs(1)));
        let rate: Rate = "1000000 / 1d".parse().unwrap();
        assert_eq!(Bucket::from(rate).token, Duration::from_micros(86_400));
        for wrong in [
            "",
            "20",
            "0/1s",
            "-1/1s",
            "1/0s",
            "1000001/1s",
            "1/2d",
            "a/1s",
            "1/s",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
