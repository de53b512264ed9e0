//! The findings as a table for people.

use super::Finding;

/// The findings as a table for people.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "campaign",
        "stock",
        "committed",
        "gate",
        "leases",
        "rows",
        "events",
        "published",
        "purged",
        "pending",
        "parked",
        "verdict",
    ]);
    let or_none =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    for finding in findings {
        let verdict = if finding.breaches.is_empty() {
            "ok".to_owned()
        } else {
            finding.breaches.join("; ")
        };
        table.add_row([
            finding.campaign_id.to_string(),
            or_none(finding.total_stock),
            finding.committed_units.to_string(),
            or_none(finding.gate_units),
            or_none(finding.gate_leases),
            finding.participations.to_string(),
            finding.events.to_string(),
            finding.published.to_string(),
            finding.purged.to_string(),
            finding.pending.to_string(),
            finding.parked.to_string(),
            verdict,
        ]);
    }
    let breaches: usize = findings.iter().map(|finding| finding.breaches.len()).sum();
    let sum = |figure: fn(&Finding) -> u64| findings.iter().map(figure).sum::<u64>();
    let read = sum(|finding| finding.segments_read);
    let kept = sum(|finding| finding.segments_kept);
    format!(
        "{table}\n{} campaigns, {breaches} breaches; {read} segments read, {kept} known from before",
        findings.len()
    )
}
