//! The digest of a set of changes of participations. Check I3 sums it up on both sides: for participations from their
//! ranks and versions, for events from their ranks and sequences. Equal sets have equal digests; different sets have
//! equal digests with a probability of about one in two thousand million.
//!
//! The weight of a rank is its square in a field of 2^31 - 1 elements, after an offset, so that small ranks wrap
//! around too, and sums of small squares show no simple pattern. The weight of its change n is 2n - 1 times that, so
//! the changes 1 to n weigh n squared times that: the changes of a participation need not be listed. The arithmetic
//! fits into 64 bits in both databases, for any values in the columns.

/// The field: a prime.
const FIELD: i64 = 2_147_483_647;
/// The offset of ranks: a third of the field, so that no square overflows.
const MOVED: i64 = 715_827_883;
/// Change numbers are distinguished modulo this; the number of changes is compared separately.
const CHANGES_MAX: i64 = 1_009;

/// The weight of the changes of a participation, `p`, as SQL.
pub(super) const OF_CHANGES: &str = "((p.`rank` % 2147483647 + 715827883) * (p.`rank` % 2147483647 + 715827883) \
     % 2147483647) * (p.version % 1009) * (p.version % 1009)";

/// The weight of an event, `e`, as SQL.
pub(super) const OF_EVENT: &str = "((e.`rank` % 2147483647 + 715827883) * (e.`rank` % 2147483647 + 715827883) \
     % 2147483647) * (2 * (e.key_sequence % 1009) - 1)";

/// The weight of an event about change `sequence` of the participation with this rank.
pub(in crate::parts::store) fn of_event(rank: i64, sequence: i64) -> i64 {
    let moved = rank % FIELD + MOVED;
    (moved * moved % FIELD) * (2 * (sequence % CHANGES_MAX) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statements_contain_the_constants() {
        for sql in [OF_CHANGES, OF_EVENT] {
            for number in [FIELD, MOVED, CHANGES_MAX] {
                assert!(sql.contains(&number.to_string()), "{number} in {sql}");
            }
        }
    }

    #[test]
    fn the_weight_of_the_changes_up_to_the_nth_is_its_square() {
        for rank in [1, 65_536, 3_000_000_000] {
            for version in 1..50 {
                let changes: i64 = (1..=version).map(|nth| of_event(rank, nth)).sum();
                assert_eq!(changes, of_event(rank, 1) * version * version);
            }
        }
    }

    #[test]
    fn no_number_overflows() {
        for rank in [i64::MIN, -1, 0, i64::MAX] {
            for sequence in [i64::MIN, -1, 0, i64::MAX] {
                of_event(rank, sequence);
            }
        }
    }

    #[test]
    fn pairs_of_ranks_with_the_same_sum_weigh_differently() {
        for (one, other) in [([1, 8], [4, 7]), ([5, 8], [6, 7]), ([1, 4], [2, 3])] {
            let weigh = |ranks: [i64; 2]| ranks.map(|rank| of_event(rank, 1)).iter().sum::<i64>();
            assert_ne!(weigh(one), weigh(other));
        }
    }
}
