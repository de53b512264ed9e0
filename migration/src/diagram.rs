//! The entity diagram of both schemas, as the page `docs/schema.md`. The tables have no foreign keys: a reference is
//! known by the name of its column.

use sea_orm_migration::sea_orm::DbBackend;

use crate::{rewards, statements};

/// Columns that refer to a row, and its table.
const REFERENCES: [(&str, &str); 7] = [
    ("campaign_id", "campaign"),
    ("participation_id", "participation"),
    ("event_id", "outbox_event"),
    ("list_id", "allow_list"),
    ("allow_list_id", "allow_list"),
    ("account_id", "account"),
    ("run_id", "daily_run"),
];

struct Column {
    name: String,
    kind: String,
    is_key: bool,
}

struct Table {
    name: String,
    columns: Vec<Column>,
}

/// The page.
#[must_use]
pub fn page() -> String {
    let intro = "# The tables\n\nGenerated from the migrations by `make schema`; a test fails if it is old. Types are \
                 those of MySQL.\n\nThe database of the sale:\n\n";
    let sale = diagram(&statements(DbBackend::MySql));
    let rewards = diagram(&rewards::statements(DbBackend::MySql));
    format!("{intro}{sale}\nThe rewards database:\n\n{rewards}")
}

fn diagram(statements: &[String]) -> String {
    let tables: Vec<Table> = statements.iter().filter_map(|text| table(text)).collect();
    let mut lines = vec!["```mermaid".to_owned(), "erDiagram".to_owned()];
    for table in &tables {
        lines.push(format!("    {} {{", table.name));
        for Column { name, kind, is_key } in &table.columns {
            let key = if *is_key { " PK" } else { "" };
            lines.push(format!("        {kind} {name}{key}"));
        }
        lines.push("    }".to_owned());
    }
    for table in &tables {
        for (column, other) in REFERENCES {
            let refers = table.columns.iter().any(|known| known.name == column);
            if refers && other != table.name && tables.iter().any(|table| table.name == other) {
                lines.push(format!("    {other} ||--o{{ {} : {column}", table.name));
            }
        }
    }
    lines.push("```\n".to_owned());
    lines.join("\n")
}

/// The table that a statement creates.
fn table(statement: &str) -> Option<Table> {
    let rest = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ")?;
    let (name, rest) = rest.split_once(" (")?;
    let (body, _) = rest.rsplit_once(')')?;
    let parts = parts(body);
    let key = parts
        .iter()
        .find_map(|part| part.strip_prefix("PRIMARY KEY "));
    let is_in_key = |name: &str| {
        let mut names = key.unwrap_or_default().split([' ', '(', ')', ',']);
        names.any(|known| known == name)
    };
    let columns = parts.iter().filter_map(|part| {
        let mut words = part.split_whitespace();
        let (name, kind) = (words.next()?.trim_matches('`'), words.next()?);
        let is_column = name
            .chars()
            .all(|letter| letter.is_lowercase() || letter == '_');
        is_column.then(|| Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            is_key: part.contains("PRIMARY KEY") || is_in_key(name),
        })
    });
    Some(Table {
        name: name.to_owned(),
        columns: columns.collect(),
    })
}

/// The parts of a list with commas outside of parentheses.
fn parts(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in list.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts
            .iter_mut()
            .last()
            .into_iter()
            .for_each(|part| part.push(letter));
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_not_drifted() {
        let written = include_str!("../../docs/schema.md");
        assert!(
            written == super::page(),
            "run `make schema` and look at the difference"
        );
    }
}
