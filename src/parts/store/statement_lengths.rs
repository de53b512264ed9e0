//! Statements over many rows have few different lengths, so that each connection prepares each of them once and
//! reuses it.

/// Above this number of rows, the lengths are this far apart.
const STEP: usize = 8;

/// Cuts `rows` into slices of few different lengths up to `rows_max`, in order.
pub(super) fn slices<T>(rows: &[T], rows_max: usize) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let (slice, after) = rest.split_at_checked(length(rest.len().min(rows_max)))?;
        rest = after;
        (!slice.is_empty()).then_some(slice)
    })
}

fn length(rows: usize) -> usize {
    if rows < STEP {
        rows
    } else {
        rows - rows % STEP
    }
}

/// The values of a list, repeating the last one until the list has one of few lengths.
pub(super) fn padded<T: Clone>(values: &[T]) -> impl Iterator<Item = T> {
    let missing = values.len().next_power_of_two() - values.len();
    let last = values.last();
    values
        .iter()
        .chain(last.into_iter().cycle().take(missing))
        .cloned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn slices_keep_all_rows_in_order_and_have_few_lengths() {
        let mut lengths = BTreeSet::new();
        for count in 0..1_000 {
            let rows: Vec<usize> = (0..count).collect();
            lengths.extend(slices(&rows, 32).map(<[usize]>::len));
            assert_eq!(
                slices(&rows, 32).flatten().copied().collect::<Vec<_>>(),
                rows
            );
        }
        let expected: Vec<usize> = (1..=8).chain([16, 24, 32]).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn padding_repeats_the_last_value() {
        assert_eq!(
            padded(&[1, 2, 3, 4, 5]).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 5, 5, 5]
        );
        assert_eq!(padded(&[7]).collect::<Vec<_>>(), [7]);
        assert_eq!(padded::<u8>(&[]).count(), 0);
    }
}
