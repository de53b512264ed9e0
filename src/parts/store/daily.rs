//! Daily statistics. A day is read in slices, ranges of ranks with a bounded number of rows, and stored as a
//! row for each campaign. Only the aggregation run that holds the lease writes these rows.

mod reading;
mod rows;
mod run;
mod runs;

pub use reading::{CampaignSpan, CampaignSpans, RankRange, RankedAt};
pub use rows::{AggregatedDay, DailyRow};
pub use run::{Begun, Cause, Progress, Redo, Run, RunFailure, RunResult, RunState};
