//! Figures of reports. An event that never happened is shown as later than all others.

/// Of both replicas, if each did it.
pub fn slowest([first, second]: [Option<f64>; 2]) -> Option<f64> {
    Some(first?.max(second?))
}

/// Seconds with one decimal; none: not in time.
pub fn seconds_text(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "∞".to_owned(), |seconds| format!("{seconds:.1}"))
}

/// Median and maximum.
pub fn spread(seconds: impl Iterator<Item = Option<f64>>) -> String {
    let mut all: Vec<f64> = seconds.map(|one| one.unwrap_or(f64::INFINITY)).collect();
    if all.is_empty() {
        return "–".to_owned();
    }
    all.sort_by(f64::total_cmp);
    let finite = |seconds: f64| seconds.is_finite().then_some(seconds);
    let median = seconds_text(finite(all[all.len() / 2]));
    let greatest = seconds_text(finite(all[all.len() - 1]));
    format!("{median} ({greatest})")
}
