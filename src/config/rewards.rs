//! `[rewards]`: the rewards database.

use std::time::Duration;

use secrecy::SecretString;

use crate::domain::Redeemers;
use crate::runtime::settings::settings;

settings! {
    /// `[rewards]`: the rewards database.
    Rewards in "rewards" {
        /// `mysql://USER:PASSWORD@HOST:PORT/SCHEMA`. Without it, the schema of the events with `_rewards` at its end,
        /// created if it is missing, or `rewards.db` in `data.dir`. A process on MySQL without it and without
        /// consumers does not use rewards
        database_url: Option<SecretString> = None, shown "beside the events";
        /// Connections in its pool; the time-outs are those of `[database]`
        connections_max: u32 = 8, in 1..;
        /// Who redeems coupons: `holders` report the amount of an order themselves (shops may too); `shops` means shops
        /// only, with the scope `coupon:redeem`: [consumers.md](consumers.md#who-may-redeem-coupons)
        redeemers: Redeemers = Redeemers::Holders;
        /// How long a cancellation may take to commit after its coupons were suspended, and so how long they cannot be
        /// used if it does not commit
        suspend_max: Duration = Duration::from_secs(15), in Duration::from_secs(1)..=Duration::from_secs(300);
    }
}
