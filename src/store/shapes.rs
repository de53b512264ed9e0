//! Statements over many rows come in few shapes, so that each connection prepares each of them once
//! and finds it again. The largest shape of the widest row stays under 32 KiB: the client does not set
//! `TCP_NODELAY` (sqlx 0.9.0), and a longer packet over loopback waits 40 ms for a delayed
//! acknowledgement (sqlx issue 4335).

/// Most rows of one statement.
const ROWS_MAX: usize = 32;
/// Above this many rows, shapes are this far apart.
const STEP: usize = 8;

/// Cuts `rows` into slices of few different lengths, in order.
pub(super) fn slices<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let (slice, after) = rest.split_at_checked(length(rest.len()))?;
        rest = after;
        (!slice.is_empty()).then_some(slice)
    })
}

fn length(rows: usize) -> usize {
    match rows {
        0..STEP => rows,
        STEP..ROWS_MAX => rows - rows % STEP,
        _ => ROWS_MAX,
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
    fn slices_keep_every_row_in_order_and_have_few_lengths() {
        let mut lengths = BTreeSet::new();
        for count in 0..1_000 {
            let rows: Vec<usize> = (0..count).collect();
            lengths.extend(slices(&rows).map(<[usize]>::len));
            assert_eq!(slices(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        }
        assert!(lengths.len() <= 11, "{lengths:?}");
        assert_eq!(lengths.last(), Some(&ROWS_MAX));
    }

    #[test]
    fn padding_only_repeats_the_last() {
        assert_eq!(
            padded(&[1, 2, 3, 4, 5]).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 5, 5, 5]
        );
        assert_eq!(padded(&[7]).collect::<Vec<_>>(), [7]);
        assert_eq!(padded::<u8>(&[]).count(), 0);
    }
}
