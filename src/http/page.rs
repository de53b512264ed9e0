//! Pages of lists: a bounded number of items and a cursor to the next ones.

use std::str::FromStr;

use super::problem::Problem;

/// Items on a page when the client does not say.
const LIMIT_DEFAULT: u32 = 20;

/// Most items on a page.
const LIMIT_MAX: u32 = 100;

/// Items on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u32);

impl Limit {
    /// Rows to ask the store for: one more than is shown, which tells whether there is a next page.
    pub const fn fetch(self) -> u64 {
        self.0 as u64 + 1
    }

    /// Items shown.
    pub fn shown(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The limit a client asked for; the framework has checked its range.
pub fn page_limit(asked: Option<u32>) -> Limit {
    Limit(asked.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX))
}

/// What the cursor of the page before says, if there was one.
pub fn page_cursor<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    cursor
        .map(|cursor| {
            cursor
                .parse()
                .map_err(|_| Problem::invalid_field("cursor", "is not the nextCursor of a page"))
        })
        .transpose()
}

/// One page.
#[derive(Debug)]
pub struct Page<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Asks for the next page; none: this was the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts what the store answered to [`Limit::fetch`] into a page.
    pub fn cut(mut items: Vec<T>, limit: Limit, cursor: impl FnOnce(&T) -> String) -> Self {
        let shown = limit.shown();
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
    fn only_a_page_with_more_behind_it_has_a_cursor() {
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
    fn a_cursor_that_no_page_gave_is_named() {
        let problem = page_cursor::<i64>(Some("x")).unwrap_err();
        assert_eq!(problem.errors.first().unwrap().field, "cursor");
        assert_eq!(page_cursor(Some("7")).unwrap(), Some(7));
    }
}
