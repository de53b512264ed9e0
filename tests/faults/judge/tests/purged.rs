//! Events of an ended campaign that were deleted after their publication.

use super::*;

/// The event of the first participation was deleted.
fn purge(evidence: &mut Evidence) {
    number(evidence);
    for record in &mut evidence.records {
        let stored = evidence.events.iter().find(|one| one.id == record.event);
        record.position = stored.unwrap().place.1;
    }
    evidence.events.remove(0);
    evidence.purged.insert(LIMITED, 1);
}

#[test]
fn a_deleted_event_is_known_from_its_record() {
    let found = broken(|evidence, _| {
        purge(evidence);
        evidence.add_purged();
    });
    assert_eq!(found, BTreeSet::new());
}

#[test]
fn an_event_that_was_deleted_and_never_published_is_reported() {
    let found = broken(|evidence, _| {
        purge(evidence);
        let gone = evidence.participations[0].id;
        evidence.records.retain(|one| one.participation != gone);
        evidence.add_purged();
    });
    assert_eq!(found, promises(["I3", "I4"]));
}

#[test]
fn an_event_that_is_gone_and_not_counted_as_deleted_is_reported() {
    let found = broken(|evidence, _| {
        purge(evidence);
        evidence.events.retain(|event| event.place.0 != LIMITED);
        evidence.add_purged();
    });
    assert_eq!(found, promises(["I4"]));
    let elsewhere = broken(|evidence, _| {
        purge(evidence);
        evidence.purged = [(SEVERAL, 0)].into();
        evidence.add_purged();
    });
    assert_eq!(elsewhere, promises(["I3", "I4"]));
}
