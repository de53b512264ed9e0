//! Decides which stored sums a run uses.

use std::collections::HashSet;

use super::Depth;
use crate::parts::store::Segment;

/// The usable sums of one kind.
#[derive(Debug)]
pub(super) struct SumsOfKind {
    depth: Depth,
    /// Segments to be read again.
    due: HashSet<Segment>,
    /// Segments read in this run.
    fresh: HashSet<Segment>,
}

impl SumsOfKind {
    /// All stored sums are used, except those of segments that are due.
    pub(super) fn all_but(due: HashSet<Segment>) -> Self {
        Self {
            depth: Depth::Incremental,
            due,
            fresh: HashSet::new(),
        }
    }

    /// Only sums read in this run are used.
    fn none() -> Self {
        Self {
            depth: Depth::Full,
            due: HashSet::new(),
            fresh: HashSet::new(),
        }
    }

    /// Notes that these segments were read in this run.
    pub(super) fn refresh(&mut self, segments: impl IntoIterator<Item = Segment>) {
        self.fresh.extend(segments);
    }

    /// Whether the sums of a segment are used.
    pub(super) fn has(&self, segment: Segment) -> bool {
        self.fresh.contains(&segment)
            || (self.depth == Depth::Incremental && !self.due.contains(&segment))
    }
}

/// The usable sums of both kinds.
#[derive(Debug)]
pub(super) struct UsableSums {
    /// Sums of participations, by segments of ranks.
    pub(super) ranks: SumsOfKind,
    /// Sums of streams, by segments of sequences.
    pub(super) logs: SumsOfKind,
}

impl UsableSums {
    /// Only sums read in this run are used.
    pub(super) fn none() -> Self {
        Self {
            ranks: SumsOfKind::none(),
            logs: SumsOfKind::none(),
        }
    }
}
