//! The admin API. Every operation needs the admin token, or credentials with the scopes that it names.

pub mod account_requests;
pub mod accounts;
pub mod allow_list;
pub mod audit;
pub mod batch;
pub mod campaigns;
pub mod coupons;
pub mod csv_upload;
pub mod dead_letter_selection;
pub mod dead_letters;
pub mod export;
pub mod gate;
pub mod kafka;
pub mod order;
pub mod outbox;
pub mod requests;
pub mod simulation;
pub mod simulation_requests;
pub mod stats;
pub mod system;

pub use accounts::AdminAccountsApi;
pub use allow_list::AdminAllowListApi;
pub use audit::AdminAuditApi;
pub use batch::AdminBatchApi;
pub use campaigns::AdminCampaignsApi;
pub use coupons::AdminCouponsApi;
pub use dead_letters::AdminDeadLettersApi;
pub use export::AdminExportApi;
pub use gate::AdminGateApi;
pub use kafka::AdminKafkaApi;
pub use order::AdminOrderApi;
pub use outbox::AdminOutboxApi;
pub use simulation::AdminSimulationApi;
pub use stats::AdminStatsApi;
pub use system::AdminSystemApi;
