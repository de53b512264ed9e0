//! Keys that moved to other partitions, because partitions were added.

use super::*;

/// Moves the last records of a campaign to these partitions, one after the other.
fn found(keys_moved: bool, partitions: &[i32]) -> BTreeSet<String> {
    broken(|evidence, _| {
        evidence.keys_moved = keys_moved;
        let records = evidence.records.iter_mut();
        let mut records: Vec<&mut Seen> = records.filter(|one| one.campaign == PAID).collect();
        let begin = records.len() - partitions.len();
        for (record, partition) in records[begin..].iter_mut().zip(partitions) {
            record.partition = *partition;
        }
    })
}

#[test]
fn a_shared_key_moves_once_and_only_if_partitions_were_added() {
    assert_eq!(found(true, &[3, 3, 3]), BTreeSet::new());
    assert_eq!(found(false, &[3, 3, 3]), promises(["I8"]));
    // Back to the old partition, and on to a third one.
    assert_eq!(found(true, &[3, 0, 3]), promises(["I8"]));
    assert_eq!(found(true, &[3, 3, 4]), promises(["I8"]));
}

#[test]
fn the_order_within_the_partitions_of_a_moved_key_is_checked() {
    let out_of_order = broken(|evidence, _| {
        evidence.keys_moved = true;
        let places: Vec<usize> = (0..evidence.records.len())
            .filter(|nth| evidence.records[*nth].campaign == SEVERAL)
            .collect();
        evidence.records.swap(places[0], places[1]);
    });
    assert_eq!(out_of_order, promises(["I8"]));
}
