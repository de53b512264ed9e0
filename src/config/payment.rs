//! `[payment]`: what a reservation waits for.

use std::time::Duration;

use crate::domain::words::words;
use crate::runtime::settings::settings;

words! {
    /// Payment providers.
    #[derive(Default)]
    pub enum Provider {
        /// Accepts every payment and moves no money.
        #[default]
        Simulated = "simulated",
    }
}

settings! {
    /// `[payment]`: what a reservation waits for.
    Payment in "payment" {
        /// Who authorises payments. `simulated` moves no money: it accepts a payment unless its `paymentReference`
        /// begins with `declined`, `unavailable` or `slow-MILLIS`. A payment without a `paymentReference` gets one
        /// that begins with `simulated-`, which clients may not use
        provider: Provider = Provider::Simulated;
        /// Whether the simulated provider sells if a part is real or `http.listen` is not a loopback address.
        /// Otherwise campaigns with a price cannot be opened there, those that are open make no reservations, and no
        /// payment is confirmed: 409 `NO_PAYMENT_PROVIDER`. For tests only: whoever confirms pays nothing
        allow_simulated: bool = false;
        /// Longest wait for the provider
        timeout: Duration = Duration::from_secs(5), in Duration::from_millis(10)..=Duration::from_secs(60);
        /// How often the service checks for expired reservations
        expiry_interval: Duration = Duration::from_millis(500),
            in Duration::from_millis(10)..=Duration::from_secs(60);
    }
}
