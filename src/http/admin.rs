//! The admin API: everything here takes the admin token.

pub mod campaigns;
pub mod requests;

pub use campaigns::AdminCampaignsApi;
