//! What days come to. A day is read from the rows themselves in slices, each a stretch of ids with a
//! bounded number of rows; and what it came to is kept as a row for each campaign. Who may write those
//! is a run that holds the duty to.

mod reading;
mod rows;
mod run;
mod runs;

pub use rows::{DailyRow, Done};
pub use run::{Begun, Cause, Ended, Progress, Redo, Run, RunFailure, RunState};
