//! The scopes of admins. Other words in a token are ignored.

use std::fmt;

use crate::domain::words::words;

words! {
    /// One thing that an admin may do; its word is written in tokens.
    pub enum Scope {
        /// Read campaigns and their participations.
        CampaignRead = "campaign:read",
        /// Create, change, open and close campaigns, and change anything that has no scope of its own.
        CampaignWrite = "campaign:write",
        /// Read dead letters, publish them again, discard them.
        DeadletterReplay = "deadletter:replay",
        /// Read statistics.
        StatsRead = "stats:read",
        /// Use the test endpoints.
        TestRun = "test:run",
        /// Create and change accounts.
        AccountManage = "account:manage",
        /// Redeem the coupons of customers.
        CouponRedeem = "coupon:redeem",
        /// Read personal data of others, with the scope of the operation.
        PiiRead = "pii:read",
        /// Read the audit log.
        AuditRead = "audit:read",
    }
}

impl Scope {
    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Scopes as a type, so that a handler requires them in its signature.
pub trait Needs: Send + Sync + 'static {
    /// The scopes; all of them are required.
    const SCOPES: Scopes;
}

/// The scopes of both.
impl<A: Needs, B: Needs> Needs for (A, B) {
    const SCOPES: Scopes = A::SCOPES.and(B::SCOPES);
}

macro_rules! needs {
    ($($name:ident),+ $(,)?) => {
        $(
            #[doc = concat!("[`Scope::", stringify!($name), "`]")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
            impl Needs for $name {
                const SCOPES: Scopes = Scopes::of(Scope::$name);
            }
        )+
    };
}
needs!(
    CampaignRead,
    CampaignWrite,
    DeadletterReplay,
    StatsRead,
    TestRun,
    AccountManage,
    CouponRedeem,
    PiiRead,
    AuditRead,
);

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// No scopes.
    pub const NONE: Self = Self(0);

    /// All scopes.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// One scope.
    #[must_use]
    pub const fn of(scope: Scope) -> Self {
        Self(scope.bit())
    }

    /// The first of them that `granted` lacks.
    #[must_use]
    pub fn lacking(self, granted: Self) -> Option<Scope> {
        let mut all = Scope::ALL.into_iter();
        all.find(|scope| self.has(*scope) && !granted.has(*scope))
    }

    /// Whether this scope is in the set.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `others` are in the set.
    #[must_use]
    pub const fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// The union.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// The words of the scopes.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let mine = Scope::ALL.into_iter().filter(|scope| self.has(*scope));
        mine.map(Scope::as_str).collect()
    }

    /// The scopes among these words.
    pub fn among<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        Self(
            words
                .filter_map(Scope::parse)
                .fold(0, |bits, scope| bits | scope.bit()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_allows_only_itself() {
        for one in Scope::ALL {
            let alone = Scopes::among([one.as_str()].into_iter());
            for other in Scope::ALL {
                assert_eq!(alone.has(other), one == other, "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_request_that_needs_two_scopes_names_the_missing_one() {
        let both = <(CampaignRead, PiiRead)>::SCOPES;
        let one = Scopes::of(Scope::CampaignRead);
        assert_eq!(both.words(), ["campaign:read", "pii:read"]);
        assert_eq!(both.lacking(Scopes::default()), Some(Scope::CampaignRead));
        assert_eq!(both.lacking(one), Some(Scope::PiiRead));
        assert_eq!(both.lacking(Scopes::ALL), None);
        assert_eq!(one.lacking(both), None);
    }

    #[test]
    fn unknown_words_are_no_scopes() {
        let words = ["openid", "campaign:*", "Campaign:read", "campaign", "*", ""];
        assert!(Scopes::among(words.into_iter()).is_empty());
        let all = Scope::ALL.map(Scope::as_str);
        assert_eq!(Scopes::among(all.into_iter()), Scopes::ALL);
        assert_eq!(Scopes::ALL.words(), all);
    }

    #[test]
    fn a_stricter_scope_set_includes_no_more_than_a_wider_one() {
        let reads = Scopes::among(["campaign:read", "stats:read"].into_iter());
        let one = Scopes::among(["stats:read"].into_iter());
        assert!(reads.include(one) && reads.include(reads) && reads.include(Scopes::default()));
        assert!(!one.include(reads) && !Scopes::default().include(one));
    }
}
