//! The position of a walk along the ranks, and its text form.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{Violation, ViolationKind};
use crate::domain::EventId;
use crate::parts::store::Ordered;

/// The position of a walk along the ranks. As text it is the cursor of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last change read.
    pub(super) last: Option<Ordered>,
    /// Of the participations read, the one that was processed last.
    pub(super) latest: Option<Ordered>,
}

impl Cursor {
    /// Reads the next change. Returns its violation.
    pub(super) fn read(&mut self, change: Ordered) -> Option<Violation> {
        let previous = self.last.replace(change);
        let (kind, after) = if change.sequence > 1 {
            let same = previous.filter(|previous| previous.rank == change.rank);
            (ViolationKind::Change, same)
        } else {
            let latest = self.latest;
            if latest.is_none_or(|latest| latest.position < change.position) {
                self.latest = Some(change);
            }
            (ViolationKind::Arrival, latest)
        };
        let after = after.filter(|after| change.position < after.position)?;
        Some(Violation {
            kind,
            change,
            after,
        })
    }
}

/// What separates the parts of a cursor, and of a change in it.
const PARTS: char = '.';
const FIELDS: char = '_';

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, part) in [self.last, self.latest].into_iter().enumerate() {
            if nth > 0 {
                write!(formatter, "{PARTS}")?;
            }
            if let Some(change) = part {
                let event = change.event.0.simple();
                let (rank, sequence) = (change.rank, change.sequence);
                let position = change.position;
                write!(
                    formatter,
                    "{rank}{FIELDS}{sequence}{FIELDS}{position}{FIELDS}{event}"
                )?;
            }
        }
        Ok(())
    }
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the cursor")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (last, latest) = text.split_once(PARTS).ok_or(NotACursor)?;
        let part = |text: &str| -> Result<Option<Ordered>, NotACursor> {
            if text.is_empty() {
                return Ok(None);
            }
            let (rank, rest) = text.split_once(FIELDS).ok_or(NotACursor)?;
            let (sequence, rest) = rest.split_once(FIELDS).ok_or(NotACursor)?;
            let (position, event) = rest.split_once(FIELDS).ok_or(NotACursor)?;
            Ok(Some(Ordered {
                rank: rank.parse().map_err(|_| NotACursor)?,
                sequence: sequence.parse().map_err(|_| NotACursor)?,
                position: position.parse().map_err(|_| NotACursor)?,
                event: EventId(Uuid::try_parse(event).map_err(|_| NotACursor)?),
            }))
        };
        Ok(Self {
            last: part(last)?,
            latest: part(latest)?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn change(rank: u64, sequence: u32, position: u64) -> Ordered {
        Ordered {
            rank,
            sequence,
            position,
            event: EventId(Uuid::from_u128(u128::from(position))),
        }
    }

    fn violations(changes: &[Ordered]) -> Vec<(ViolationKind, u64, u64)> {
        let mut walk = Cursor::default();
        let found = changes.iter().filter_map(|change| walk.read(*change));
        found
            .map(|found| (found.kind, found.change.rank, found.after.rank))
            .collect()
    }

    #[test]
    fn events_in_order_of_rank_violate_nothing() {
        let changes = [
            change(1, 1, 10),
            change(2, 1, 11),
            change(2, 2, 30),
            change(4, 1, 12),
        ];
        assert_eq!(violations(&changes), []);
    }

    #[test]
    fn processing_before_an_earlier_arrival_is_a_violation() {
        let changes = [
            change(1, 1, 10),
            change(2, 1, 40),
            change(3, 1, 20),
            change(4, 1, 30),
            change(5, 1, 50),
        ];
        let arrival = ViolationKind::Arrival;
        assert_eq!(violations(&changes), [(arrival, 3, 2), (arrival, 4, 2)]);
    }

    #[test]
    fn a_change_processed_before_an_earlier_one_is_a_violation() {
        let changes = [change(1, 1, 10), change(1, 2, 9), change(1, 3, 12)];
        assert_eq!(violations(&changes), [(ViolationKind::Change, 1, 1)]);
    }

    #[test]
    fn a_change_whose_predecessor_is_purged_violates_nothing() {
        assert_eq!(violations(&[change(1, 1, 10), change(2, 2, 9)]), []);
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor {
            last: Some(change(7, 2, 99)),
            latest: Some(change(3, 1, 1 << 40)),
        };
        for cursor in [
            cursor,
            Cursor::default(),
            Cursor {
                latest: None,
                ..cursor
            },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for wrong in ["", "7", "7_2.", "a_b_c_d.", "7_2_1_x."] {
            assert_eq!(wrong.parse::<Cursor>(), Err(NotACursor), "{wrong}");
        }
    }
}
