//! A page of a sweep that deletes the old rows of a table: rows in order of their primary key.

/// What a sweep read and deleted on one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweptPage<K> {
    /// Number of rows that were read.
    pub read: u64,
    /// Number of rows that were deleted.
    pub deleted: u64,
    /// The key of the last row; none: this is the last page.
    pub last: Option<K>,
}

impl<K: Clone> SweptPage<K> {
    /// The page of these rows, each with whether it is old, before any is deleted; and the old ones.
    pub(super) fn of(rows: Vec<(K, bool)>, rows_max: u32) -> (Self, Vec<K>) {
        let is_full = u32::try_from(rows.len()).is_ok_and(|read| read >= rows_max);
        let page = Self {
            read: rows.len() as u64,
            deleted: 0,
            last: rows.last().filter(|_| is_full).map(|(key, _)| key.clone()),
        };
        let old = rows
            .into_iter()
            .filter_map(|(key, is_old)| is_old.then_some(key));
        (page, old.collect())
    }
}
