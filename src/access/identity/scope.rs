//! The scopes of admins. A word that is not one of these is not ours and says
//! nothing here.

use std::fmt;

/// One thing that an admin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Look at campaigns, and what became of them.
    CampaignRead,
    /// Make, change and move campaigns, and whatever else changes something.
    CampaignWrite,
    /// Look at dead letters, publish them again, discard them.
    DeadletterReplay,
    /// Read statistics.
    StatsRead,
    /// Use the test endpoints.
    TestRun,
    /// Make accounts and change them.
    AccountManage,
    /// Use the coupons that customers show.
    CouponRedeem,
    /// See the personal data of others in what another scope shows.
    PiiRead,
    /// Read the audit log.
    AuditRead,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::CampaignRead,
        Self::CampaignWrite,
        Self::DeadletterReplay,
        Self::StatsRead,
        Self::TestRun,
        Self::AccountManage,
        Self::CouponRedeem,
        Self::PiiRead,
        Self::AuditRead,
    ];

    /// As it is written in a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CampaignRead => "campaign:read",
            Self::CampaignWrite => "campaign:write",
            Self::DeadletterReplay => "deadletter:replay",
            Self::StatsRead => "stats:read",
            Self::TestRun => "test:run",
            Self::AccountManage => "account:manage",
            Self::CouponRedeem => "coupon:redeem",
            Self::PiiRead => "pii:read",
            Self::AuditRead => "audit:read",
        }
    }

    /// The scope of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Names scopes as a type, so that what takes them can say so in its signature.
pub trait Needs: Send + Sync + 'static {
    /// The scopes; all of them are needed.
    const SCOPES: Scopes;
}

/// Both.
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
    /// Not one.
    pub const NONE: Self = Self(0);

    /// Every one.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// This one alone.
    #[must_use]
    pub const fn of(scope: Scope) -> Self {
        Self(scope.bit())
    }

    /// The first of them that is not among `held`.
    #[must_use]
    pub fn lacking(self, held: Self) -> Option<Scope> {
        let mut all = Scope::ALL.into_iter();
        all.find(|scope| self.has(*scope) && !held.has(*scope))
    }

    /// Whether this one is among them.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub const fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// As they are written in a token: words with spaces between them.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let mine = Scope::ALL.into_iter().filter(|scope| self.has(*scope));
        mine.map(Scope::as_str).collect()
    }

    /// Those among these words.
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
