//! The findings as a table for people.

use super::Finding;
use crate::runtime::table::{self, Column, or_none, verdict};

/// The findings as a table for people.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let columns: [Column<Finding>; 12] = [
        ("campaign", |of| of.campaign_id.to_string()),
        ("stock", |of| or_none(of.total_stock)),
        ("committed", |of| of.committed_units.to_string()),
        ("gate", |of| or_none(of.gate_units)),
        ("leases", |of| or_none(of.gate_leases)),
        ("rows", |of| of.participations.to_string()),
        ("events", |of| of.events.to_string()),
        ("published", |of| of.published.to_string()),
        ("purged", |of| of.purged.to_string()),
        ("pending", |of| of.pending.to_string()),
        ("parked", |of| of.parked.to_string()),
        ("verdict", |of| verdict(&of.breaches)),
    ];
    let table = table::table(findings, &columns);
    let breaches: usize = findings.iter().map(|finding| finding.breaches.len()).sum();
    let sum = |figure: fn(&Finding) -> u64| findings.iter().map(figure).sum::<u64>();
    let read = sum(|finding| finding.segments_read);
    let stored = sum(|finding| finding.segments_kept);
    format!(
        "{table}\n{} campaigns, {breaches} breaches; {read} segments read, {stored} known from before",
        findings.len()
    )
}
