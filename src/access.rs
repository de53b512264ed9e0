//! Authentication and rate limits of callers. Decides nothing about campaigns.

pub mod accounts;
pub mod challenge;
pub mod identity;
pub mod limits;
pub mod security_events;
pub mod token_throttle;
