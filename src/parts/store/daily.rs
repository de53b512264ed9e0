//! Daily statistics. A day is read in slices, each a range of ids with a bounded number of rows, and stored as a
//! row for each campaign. Only the aggregation run that holds the lease writes these rows.

mod reading;
mod rows;
mod run;
mod runs;

pub use rows::{DailyRow, Done};
pub use run::{Begun, Cause, Ended, Progress, Redo, Run, RunFailure, RunState};
