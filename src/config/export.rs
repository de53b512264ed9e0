//! The section `[export]` as exports take it, and what it must keep to.

use super::Export;
use crate::operate::export::ExportConfig;

impl Export {
    /// What exports are told.
    #[must_use]
    pub const fn settings(&self) -> ExportConfig {
        ExportConfig {
            concurrent_max: self.concurrent_max,
            piece_rows: self.piece_rows,
            pieces_max: self.pieces_max,
        }
    }

    /// Requires what must hold.
    pub(super) fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(
            (1..=1_000).contains(&self.concurrent_max),
            "export.concurrent_max: must be between 1 and 1000",
        );
        require(
            (1..=10_000).contains(&self.piece_rows),
            "export.piece_rows: must be between 1 and 10000",
        );
        require(
            (1..=1_000).contains(&self.pieces_max),
            "export.pieces_max: must be between 1 and 1000",
        );
    }
}
