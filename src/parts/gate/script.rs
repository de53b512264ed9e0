//! The scripts and their sources. It does not know their replies.

/// The scripts of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Script {
    Admit,
    RefuseKey,
    Settle,
    Release,
    GiveBack,
    Configure,
    Load,
    Swap,
    Expired,
    Inspect,
    Footprint,
    Take,
    PutBack,
    LoginTry,
    LoginEnd,
    SessionOpen,
    SessionFind,
    SessionEnd,
    SessionRevoke,
    SessionList,
    SeriesFind,
    RecentNote,
    RecentSum,
}

impl Script {
    pub(super) const ALL: [Self; 23] = [
        Self::Admit,
        Self::RefuseKey,
        Self::Settle,
        Self::Release,
        Self::GiveBack,
        Self::Configure,
        Self::Load,
        Self::Swap,
        Self::Expired,
        Self::Inspect,
        Self::Footprint,
        Self::Take,
        Self::PutBack,
        Self::LoginTry,
        Self::LoginEnd,
        Self::SessionOpen,
        Self::SessionFind,
        Self::SessionEnd,
        Self::SessionRevoke,
        Self::SessionList,
        Self::SeriesFind,
        Self::RecentNote,
        Self::RecentSum,
    ];

    /// Whether the breaker opens when this script gets no answer: not for what a request can do without.
    pub(super) const fn opens_breaker(self) -> bool {
        !matches!(
            self,
            Self::Take | Self::PutBack | Self::RecentNote | Self::RecentSum
        )
    }

    /// The source of the script: the same for every engine.
    pub(super) const fn source(self) -> &'static str {
        match self {
            Self::Admit => include_str!("../../../lua/admit.lua"),
            Self::RefuseKey => include_str!("../../../lua/refuse_key.lua"),
            Self::Settle => include_str!("../../../lua/settle.lua"),
            Self::Release => include_str!("../../../lua/release.lua"),
            Self::GiveBack => include_str!("../../../lua/give_back.lua"),
            Self::Configure => include_str!("../../../lua/configure.lua"),
            Self::Load => include_str!("../../../lua/load.lua"),
            Self::Swap => include_str!("../../../lua/swap.lua"),
            Self::Expired => include_str!("../../../lua/expired.lua"),
            Self::Inspect => include_str!("../../../lua/inspect.lua"),
            Self::Footprint => include_str!("../../../lua/footprint.lua"),
            Self::Take => include_str!("../../../lua/take.lua"),
            Self::PutBack => include_str!("../../../lua/put_back.lua"),
            Self::LoginTry => concat!(
                include_str!("../../../lua/login_head.lua"),
                include_str!("../../../lua/login_try.lua")
            ),
            Self::LoginEnd => concat!(
                include_str!("../../../lua/login_head.lua"),
                include_str!("../../../lua/login_end.lua")
            ),
            Self::SessionOpen => concat!(
                include_str!("../../../lua/session_head.lua"),
                include_str!("../../../lua/session_open.lua")
            ),
            Self::SessionFind => concat!(
                include_str!("../../../lua/session_head.lua"),
                include_str!("../../../lua/session_find.lua")
            ),
            Self::SessionEnd => include_str!("../../../lua/session_end.lua"),
            Self::SessionRevoke => include_str!("../../../lua/session_revoke.lua"),
            Self::SessionList => concat!(
                include_str!("../../../lua/session_head.lua"),
                include_str!("../../../lua/session_list.lua")
            ),
            Self::SeriesFind => concat!(
                include_str!("../../../lua/session_head.lua"),
                include_str!("../../../lua/series_find.lua")
            ),
            Self::RecentNote => include_str!("../../../lua/recent_note.lua"),
            Self::RecentSum => include_str!("../../../lua/recent_sum.lua"),
        }
    }
}
