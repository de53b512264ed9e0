//! Which buckets the next poll reads, and how many rows. Rows under way are still pending and are read
//! again, so a backlog is not read whole each time: bucket by bucket, and a bucket again only when
//! most of what was taken from it is settled. In between, the buckets without one have their turn. Pure.

use std::collections::VecDeque;

/// Buckets of a backlog read by one poll.
const BUCKETS_AT_ONCE: usize = 8;
/// A bucket of a backlog is read again when fewer than this share of a page is under way in it.
const LOW_SHARE: usize = 8;

/// Beside a backlog, the other buckets are read in each eighth poll.
const OTHERS_EVERY: u32 = 8;

/// What one poll asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// In ascending order.
    pub(super) buckets: Vec<u16>,
    /// Rows that are not under way yet.
    pub(super) fresh_max: usize,
    /// Rows in all: what is new is looked for behind what is under way.
    pub(super) rows_max: usize,
}

/// How a page compares to what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// Everything pending in all owned buckets was seen.
    Everything,
    /// There may be more: another poll is due at once.
    Part,
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Buckets with more rows than were read, next one first. None: the next poll reads all buckets.
    backlog: VecDeque<u16>,
    /// Polls since the others were read.
    polls: u32,
}

impl Reading {
    /// What to ask for next. None: what was taken from the backlog has to be settled first.
    pub(super) fn next(
        &mut self,
        owned: &[u16],
        fresh_max: usize,
        under_way: impl Fn(u16) -> usize,
    ) -> Option<Page> {
        self.backlog.retain(|bucket| owned.contains(bucket));
        self.polls += 1;
        let mut buckets: Vec<u16> = Vec::new();
        if self.backlog.is_empty() || self.polls >= OTHERS_EVERY {
            self.polls = 0;
            let owned = owned.iter().copied();
            buckets.extend(owned.filter(|bucket| !self.backlog.contains(bucket)));
        }
        if buckets.is_empty() {
            let low = fresh_max / LOW_SHARE;
            let ready = self.backlog.iter().copied();
            let ready = ready.filter(|bucket| under_way(*bucket) <= low);
            buckets.extend(ready.take(BUCKETS_AT_ONCE));
        }
        buckets.sort_unstable();
        if buckets.is_empty() || fresh_max == 0 {
            return None;
        }
        let again: usize = buckets.iter().map(|bucket| under_way(*bucket)).sum();
        Some(Page {
            buckets,
            fresh_max,
            rows_max: fresh_max + again,
        })
    }

    /// Takes note of a page that was read: so many rows, the last one of bucket `last`.
    pub(super) fn was_read(&mut self, page: &Page, rows: usize, last: Option<u16>) -> Coverage {
        let was_backlog = !self.backlog.is_empty();
        self.backlog.retain(|bucket| !page.buckets.contains(bucket));
        let Some(last) = last.filter(|_| rows >= page.rows_max) else {
            return if was_backlog {
                Coverage::Part
            } else {
                Coverage::Everything
            };
        };
        // Buckets before the last one were read to their end, those behind it not at all.
        for bucket in page.buckets.iter().rev().filter(|bucket| **bucket > last) {
            self.backlog.push_front(*bucket);
        }
        self.backlog.push_back(last);
        Coverage::Part
    }

    /// Whether more is known to wait than was read.
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_backlog_all_buckets_are_read_behind_the_rows_in_flight() {
        let mut reading = Reading::default();
        let page = reading.next(&[1, 2, 3], 10, |_| 2).unwrap();
        assert_eq!(
            (page.buckets.as_slice(), page.rows_max),
            (&[1, 2, 3][..], 16)
        );
        assert_eq!(reading.was_read(&page, 15, Some(3)), Coverage::Everything);
    }

    #[test]
    fn a_truncated_page_leaves_its_last_bucket_and_the_following_ones() {
        let mut reading = Reading::default();
        let page = reading.next(&[1, 2, 3, 4], 10, |_| 0).unwrap();
        assert_eq!(reading.was_read(&page, 10, Some(2)), Coverage::Part);
        let busy = |bucket| if bucket == 2 { 10 } else { 0 };
        let page = reading.next(&[1, 2, 3, 4], 10, busy).unwrap();
        assert_eq!(
            page.buckets,
            [3, 4],
            "bucket 2 waits for what was taken from it"
        );
        assert_eq!(reading.was_read(&page, 4, Some(4)), Coverage::Part);
        assert_eq!(reading.next(&[1, 2, 3, 4], 10, busy), None);
        let page = reading.next(&[1, 2, 3, 4], 10, |_| 1).unwrap();
        assert_eq!((page.buckets.as_slice(), page.rows_max), (&[2][..], 11));
        assert_eq!(reading.was_read(&page, 3, Some(2)), Coverage::Part);
        // The backlog is gone: one more look at everything.
        let page = reading.next(&[1, 2, 3, 4], 10, |_| 0).unwrap();
        assert_eq!(page.buckets, [1, 2, 3, 4]);
    }

    #[test]
    fn other_buckets_are_read_regularly_beside_a_backlog() {
        let mut reading = Reading::default();
        let page = reading.next(&[1, 2, 3, 4], 10, |_| 0).unwrap();
        reading.was_read(&page, 10, Some(2));
        for _ in 1..OTHERS_EVERY {
            let page = reading.next(&[1, 2, 3, 4], 10, |_| 0).unwrap();
            assert_eq!(page.buckets, [2, 3, 4]);
            assert_eq!(reading.was_read(&page, 10, Some(2)), Coverage::Part);
        }
        let page = reading.next(&[1, 2, 3, 4], 10, |_| 0).unwrap();
        assert_eq!(page.buckets, [1]);
        assert_eq!(reading.was_read(&page, 10, Some(1)), Coverage::Part);
        // Of all of them now.
        let page = reading.next(&[1, 2, 3, 4], 10, |_| 0).unwrap();
        assert_eq!(page.buckets, [1, 2, 3, 4]);
    }

    #[test]
    fn with_a_backlog_in_all_buckets_no_poll_reads_others() {
        let mut reading = Reading::default();
        let page = reading.next(&[1, 2], 10, |_| 0).unwrap();
        reading.was_read(&page, 10, Some(1));
        for _ in 0..2 * OTHERS_EVERY {
            let page = reading.next(&[1, 2], 10, |_| 0).unwrap();
            assert_eq!(page.buckets, [1, 2]);
            reading.was_read(&page, 10, Some(1));
        }
    }

    #[test]
    fn other_buckets_are_read_while_a_backlog_is_published() {
        let mut reading = Reading::default();
        let page = reading.next(&[1, 2], 10, |_| 0).unwrap();
        reading.was_read(&page, 10, Some(2));
        for _ in 1..OTHERS_EVERY {
            assert_eq!(reading.next(&[1, 2], 10, |_| 10), None);
        }
        let page = reading.next(&[1, 2], 10, |_| 10).unwrap();
        assert_eq!(page.buckets, [1]);
    }

    #[test]
    fn lost_buckets_leave_the_backlog() {
        let mut reading = Reading::default();
        let page = reading.next(&[1, 2], 1, |_| 0).unwrap();
        reading.was_read(&page, 1, Some(1));
        let page = reading.next(&[7], 1, |_| 0).unwrap();
        assert_eq!(page.buckets, [7]);
    }
}
