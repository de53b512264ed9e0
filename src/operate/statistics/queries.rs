//! Statistics of a day, raw and aggregated, and of a campaign over a period.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::NaiveDate;

use super::reading::{ONCE, Reader};
use super::{AggregateError, Aggregator, named_day};
use crate::domain::{Campaign, CampaignId, Day, Zone};
use crate::parts::store::{AggregatedDay, DailyRow};

/// The source of statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The rows.
    Raw,
    /// The result of an aggregation run.
    Aggregated,
}

/// The statistics of a day.
#[derive(Clone, Debug)]
pub struct DayStatistics {
    /// The day.
    pub day: Day,
    /// Their source.
    pub method: Method,
    /// Duration of the query.
    pub took: Duration,
    /// The aggregation run; none: they are raw.
    pub done: Option<AggregatedDay>,
    /// By campaign, in order of number.
    pub campaigns: Vec<DailyRow>,
}

/// The statistics of a campaign over a period.
#[derive(Clone, Debug)]
pub struct CampaignStatistics {
    /// The campaign.
    pub campaign: Campaign,
    /// The first day and the last.
    pub period: (NaiveDate, NaiveDate),
    /// The time zone of the days.
    pub zone: Zone,
    /// Duration of the query.
    pub took: Duration,
    /// Days with participations or rejections, in order.
    pub days: Vec<DailyRow>,
    /// Days that are not completely aggregated.
    pub missing: Vec<NaiveDate>,
}

impl Aggregator {
    /// Reads a day from its rows, plus those of a few minutes before and after.
    pub async fn raw(
        &self,
        date: NaiveDate,
        zone: Option<Zone>,
    ) -> Result<DayStatistics, AggregateError> {
        let day = named_day("date", date, zone.unwrap_or(self.zone()), self)?;
        let settings = &self.inner.settings;
        let store = &self.inner.dependencies.store;
        let _permit = self.reading_permit()?;
        let began = Instant::now();
        let reader = Reader {
            store: store.clone(),
            slice_rows: settings.slice_rows,
            parallel_max: settings.parallel_max,
            retry: ONCE,
        };
        let sums = reader.read(day, |_, _| {}).await?;
        let ids: Vec<CampaignId> = sums.keys().copied().collect();
        let mut names = store.campaign_names(&ids).await?;
        let campaigns = sums
            .into_iter()
            .map(|(campaign, sums)| DailyRow {
                campaign,
                name: names.remove(&campaign).unwrap_or_default(),
                date,
                sums,
            })
            .collect();
        Ok(DayStatistics {
            day,
            method: Method::Raw,
            took: began.elapsed(),
            done: None,
            campaigns,
        })
    }

    /// Reads the aggregated statistics of a day.
    pub async fn daily(
        &self,
        date: NaiveDate,
        zone: Option<Zone>,
    ) -> Result<DayStatistics, AggregateError> {
        let day = named_day("date", date, self.aggregated_zone(zone)?, self)?;
        let store = &self.inner.dependencies.store;
        let began = Instant::now();
        let done = store.days_done(day.zone, (date, date)).await?;
        let done = done.first().copied().ok_or(AggregateError::NotAggregated)?;
        let cache = &self.inner.days;
        let campaigns = if let Some(rows) = cache.get(done) {
            rows
        } else {
            let rows = Arc::new(store.daily(day).await?);
            cache.insert(done, &rows);
            rows
        };
        Ok(DayStatistics {
            day,
            method: Method::Aggregated,
            took: began.elapsed(),
            done: Some(done),
            campaigns: Arc::unwrap_or_clone(campaigns),
        })
    }

    /// Reads the aggregated statistics of a campaign over a period, including its first and last day.
    pub async fn campaign(
        &self,
        id: CampaignId,
        (from, until): (NaiveDate, NaiveDate),
        zone: Option<Zone>,
    ) -> Result<CampaignStatistics, AggregateError> {
        let zone = self.aggregated_zone(zone)?;
        let first = named_day("startDate", from, zone, self)?;
        named_day("endDate", until, zone, self)?;
        if until < from {
            return Err(AggregateError::Backwards);
        }
        let store = &self.inner.dependencies.store;
        let began = Instant::now();
        let campaign = store.campaign(id).await?;
        let campaign = campaign.ok_or(AggregateError::UnknownCampaign)?;
        let days = store.daily_of(id, zone, (from, until)).await?;
        let done = store.days_done(zone, (from, until)).await?;
        let is_done = |date: &NaiveDate| {
            done.binary_search_by_key(date, |done| done.date)
                .ok()
                .and_then(|nth| done.get(nth))
                .is_some_and(|done| done.is_complete)
        };
        let missing = std::iter::successors(Some(first), |day| Some(day.plus(1)))
            .map(|day| day.date)
            .take_while(|date| *date <= until)
            .filter(|date| !is_done(date))
            .collect();
        Ok(CampaignStatistics {
            campaign,
            period: (from, until),
            zone,
            took: began.elapsed(),
            days,
            missing,
        })
    }

    /// Days are aggregated for one zone.
    fn aggregated_zone(&self, requested: Option<Zone>) -> Result<Zone, AggregateError> {
        let configured = self.zone();
        match requested {
            Some(zone) if zone != configured => Err(AggregateError::OtherZone(configured)),
            _ => Ok(configured),
        }
    }

    /// A permit for a request that reads many rows.
    pub(super) fn reading_permit(
        &self,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, AggregateError> {
        self.inner
            .reading
            .try_acquire()
            .map_err(|_| AggregateError::Busy)
    }
}
