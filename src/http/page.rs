//! Pages of lists: a bounded number of items and a cursor to the next ones.

use std::str::FromStr;

use super::problem::Problem;

/// Default number of items on a page.
const LIMIT_DEFAULT: u32 = 20;

/// Most items on a page.
pub const LIMIT_MAX: u32 = 100;

/// Items on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u32);

impl Limit {
    /// Rows to read: one more than on the page, which shows whether there is a next page.
    pub const fn fetch(self) -> u64 {
        self.0 as u64 + 1
    }

    /// Items on the page.
    pub fn items(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The requested limit; its range is already checked.
pub fn page_limit(requested: Option<u32>) -> Limit {
    Limit(requested.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX))
}

/// The position that a cursor names, if there is a cursor.
pub fn page_cursor<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    cursor
        .map(|cursor| {
            cursor
                .parse()
                .map_err(|_| Problem::invalid_field("cursor", "must be the nextCursor of a page"))
        })
        .transpose()
}

#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Cursor of the next page; none: this is the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of the rows that [`Limit::fetch`] read.
    pub fn cut(mut items: Vec<T>, limit: Limit, cursor: impl FnOnce(&T) -> String) -> Self {
        let shown = limit.items();
        let more = items.len() > shown;
        items.truncate(shown);
        let next_cursor = if more { items.last().map(cursor) } else { None };
        Self { items, next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_with_a_next_page_has_a_cursor() {
        let limit = page_limit(Some(2));
        assert_eq!(limit.fetch(), 3);
        let page = Page::cut(vec![9, 8, 7], limit, ToString::to_string);
        assert_eq!(
            (page.items, page.next_cursor),
            (vec![9, 8], Some("8".to_owned()))
        );
        let page = Page::cut(vec![9, 8], limit, ToString::to_string);
        assert_eq!((page.items, page.next_cursor), (vec![9, 8], None));
    }

    #[test]
    fn an_unknown_cursor_is_rejected_by_name() {
        let problem = page_cursor::<i64>(Some("x")).unwrap_err();
        assert_eq!(problem.errors.first().unwrap().field, "cursor");
        assert_eq!(page_cursor(Some("7")).unwrap(), Some(7));
    }
}
