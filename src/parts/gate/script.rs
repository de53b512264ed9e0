//! The scripts and their sources. It does not know their replies.

/// Declares the scripts of the gate, each with the files that its source is made of.
macro_rules! scripts {
    ($($name:ident: $($file:literal)+,)+) => {
        /// The scripts of the gate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Script { $($name,)+ }

        impl Script {
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The source of the script: the same for every engine.
            pub(super) const fn source(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($(include_str!(concat!("../../../lua/", $file, ".lua"))),+),)+
                }
            }
        }
    };
}

scripts! {
    Admit: "admit",
    RefuseKey: "refuse_key",
    Settle: "settle",
    Release: "release",
    GiveBack: "give_back",
    Configure: "configure",
    Load: "load",
    Swap: "swap",
    Expired: "expired",
    LeasesOf: "leases_of",
    Advance: "advance",
    Inspect: "inspect",
    Footprint: "footprint",
    Take: "take",
    PutBack: "put_back",
    LoginTry: "login_head" "login_try",
    LoginEnd: "login_head" "login_end",
    SessionOpen: "session_head" "session_open",
    SessionFind: "session_head" "session_find",
    SessionEnd: "session_end",
    SessionRevoke: "session_revoke",
    SessionList: "session_head" "session_list",
    SeriesFind: "session_head" "series_find",
    RecentNote: "recent_note",
    RecentSum: "recent_sum",
}

impl Script {
    /// Whether the breaker opens if this script gets no answer. It does not for scripts that a request can be
    /// answered without.
    pub(super) const fn opens_breaker(self) -> bool {
        !matches!(
            self,
            Self::Expired
                | Self::LeasesOf
                | Self::Take
                | Self::PutBack
                | Self::RecentNote
                | Self::RecentSum
        )
    }
}
