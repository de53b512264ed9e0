//! The payment provider, and whether campaigns with a price are sold.

use std::sync::Arc;

use crate::config::{Config, Provider};
use crate::domain::Pricing;
use crate::sale::payment::{Payability, Simulated};

/// The payment provider; none: campaigns with a price are not sold.
pub(super) fn provider(config: &Config) -> Option<Arc<dyn Payability>> {
    if !config.sells_for_money() {
        tracing::warn!(
            "no payments are accepted: the simulated provider moves no money (set payment.allow_simulated=true to allow it)"
        );
        return None;
    }
    match config.payment.provider {
        Provider::Simulated => {
            if config.payment.allow_simulated {
                tracing::warn!("payments are simulated (payment.allow_simulated): no money moves");
            }
            Some(Arc::new(Simulated))
        }
    }
}

/// Whether campaigns with a price are sold.
pub(super) fn pricing(config: &Config) -> Pricing {
    if config.sells_for_money() {
        Pricing::Sold
    } else {
        Pricing::Refused
    }
}
