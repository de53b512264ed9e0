//! The admin API: everything here takes the admin token, or a token with the scope that it names.

pub mod batch;
pub mod campaigns;
pub mod dead_letters;
pub mod outbox;
pub mod requests;
pub mod stats;

pub use batch::AdminBatchApi;
pub use campaigns::AdminCampaignsApi;
pub use dead_letters::AdminDeadLettersApi;
pub use outbox::AdminOutboxApi;
pub use stats::AdminStatsApi;
