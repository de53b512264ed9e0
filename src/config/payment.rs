//! What a payment's settings may be.

use std::time::Duration;

use super::Payment;

impl Payment {
    /// Names what cannot be.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        let bounds = Duration::from_millis(10)..=Duration::from_secs(60);
        require(
            bounds.contains(&self.timeout),
            "payment.timeout: must be between 10ms and 60s",
        );
        require(
            bounds.contains(&self.expiry_interval),
            "payment.expiry_interval: must be between 10ms and 60s",
        );
    }
}
