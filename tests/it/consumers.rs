//! The consumers on MySQL and Kafka: what participations earn is granted exactly once, whatever happens.

mod away;
mod cancelling;
mod crashes;
mod granting;
mod http;
mod poison;
mod redeeming;
mod revoking;
mod scene;
mod verifying;

pub use self::scene::coupon_terms;
