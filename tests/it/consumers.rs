//! The consumers on MySQL and Kafka: rewards are granted exactly once, under any fault.

mod away;
mod cancelling;
mod crashes;
mod granting;
mod http;
mod letters;
mod poison;
mod redeeming;
mod revoking;
mod scene;
mod verifying;

pub use self::scene::coupon_terms;
