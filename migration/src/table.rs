//! A table, declared once for both databases, and the statements that create it. Each of them may run again
//! where it has run before: a migration that was killed between two of them is run from its beginning.

use sea_orm_migration::sea_orm::DbBackend;

/// What the two databases spell differently. What is not here is spelled the same: SQLite takes any name of
/// a type, and knows integers by `INT` and texts by `CHAR` or `TEXT` in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// A moment, in UTC, to the microsecond.
    pub(crate) time: &'static str,
    /// The same, to the second.
    pub(crate) seconds: &'static str,
    /// A day.
    pub(crate) date: &'static str,
    /// A UUID.
    pub(crate) uuid: &'static str,
    /// An integer primary key that the database gives out.
    pub(crate) serial: &'static str,
    /// After the type of a text: ASCII letters only.
    pub(crate) ascii: &'static str,
    /// The same, where letters that differ in case alone are equal.
    pub(crate) ascii_any_case: &'static str,
    /// The same, where they differ.
    pub(crate) ascii_exact: &'static str,
    /// After the type of a text: any letter.
    pub(crate) unicode: &'static str,
    /// The same, where all letters differ.
    pub(crate) unicode_exact: &'static str,
    insert_or_ignore: &'static str,
    backend: DbBackend,
}

const MYSQL: Dialect = Dialect {
    time: "DATETIME(6)",
    seconds: "DATETIME",
    date: "DATE",
    uuid: "BINARY(16)",
    serial: "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
    ascii: "CHARACTER SET ascii",
    ascii_any_case: "CHARACTER SET ascii COLLATE ascii_general_ci",
    ascii_exact: "CHARACTER SET ascii COLLATE ascii_bin",
    unicode: "CHARACTER SET utf8mb4",
    unicode_exact: "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    insert_or_ignore: "INSERT IGNORE",
    backend: DbBackend::MySql,
};

const SQLITE: Dialect = Dialect {
    time: "TEXT",
    seconds: "TEXT",
    date: "TEXT",
    uuid: "BLOB",
    serial: "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
    ascii: "",
    ascii_any_case: "COLLATE NOCASE",
    ascii_exact: "",
    unicode: "",
    unicode_exact: "",
    insert_or_ignore: "INSERT OR IGNORE",
    backend: DbBackend::Sqlite,
};

impl Dialect {
    pub(crate) const fn of(backend: DbBackend) -> Self {
        match backend {
            DbBackend::Sqlite => SQLITE,
            _ => MYSQL,
        }
    }
}

/// A table with its indexes and the rows that it begins with.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    columns: String,
    indexes: Vec<Index>,
    clustering: Clustering,
    rows: Option<Rows>,
}

#[derive(Debug)]
struct Index {
    kind: &'static str,
    name: &'static str,
    columns: &'static str,
}

/// Where SQLite keeps the rows; MySQL always keeps them in the primary key.
#[derive(Debug)]
enum Clustering {
    InsertionOrder,
    PrimaryKey,
}

#[derive(Debug)]
struct Rows {
    columns: &'static str,
    values: String,
}

impl Table {
    /// The columns come as in `CREATE TABLE`, with the primary key and checks.
    pub(crate) const fn new(name: &'static str, columns: String) -> Self {
        Self {
            name,
            columns,
            indexes: Vec::new(),
            clustering: Clustering::InsertionOrder,
            rows: None,
        }
    }

    pub(crate) fn index(self, name: &'static str, columns: &'static str) -> Self {
        self.with("", name, columns)
    }

    pub(crate) fn unique(self, name: &'static str, columns: &'static str) -> Self {
        self.with("UNIQUE ", name, columns)
    }

    fn with(mut self, kind: &'static str, name: &'static str, columns: &'static str) -> Self {
        self.indexes.push(Index {
            kind,
            name,
            columns,
        });
        self
    }

    /// SQLite, too, keeps the rows in the primary key.
    pub(crate) const fn clustered(mut self) -> Self {
        self.clustering = Clustering::PrimaryKey;
        self
    }

    /// The table begins with these rows; those that are there already stay as they are.
    pub(crate) fn begins_with(mut self, columns: &'static str, values: String) -> Self {
        self.rows = Some(Rows { columns, values });
        self
    }

    /// What creates the table, in order. MySQL creates a table with its indexes in one statement, all or
    /// nothing; it has no `CREATE INDEX IF NOT EXISTS`.
    pub(crate) fn statements(&self, dialect: &Dialect) -> Vec<String> {
        let mut statements = match dialect.backend {
            DbBackend::Sqlite => self.sqlite(),
            _ => vec![self.mysql()],
        };
        if let Some(Rows { columns, values }) = &self.rows {
            let (insert, table) = (dialect.insert_or_ignore, self.name);
            statements.push(format!("{insert} INTO {table} ({columns}) VALUES {values}"));
        }
        statements
    }

    fn mysql(&self) -> String {
        let indexes = self.indexes.iter().map(|index| {
            let Index {
                kind,
                name,
                columns,
            } = index;
            format!(", {kind}KEY {name} ({columns})")
        });
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({}{}) CHARACTER SET utf8mb4",
            self.name,
            self.columns,
            indexes.collect::<String>()
        )
    }

    fn sqlite(&self) -> Vec<String> {
        let table = self.name;
        let options = match self.clustering {
            Clustering::InsertionOrder => "",
            Clustering::PrimaryKey => " WITHOUT ROWID",
        };
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} ({}){options}",
            self.columns
        );
        let indexes = self.indexes.iter().map(|index| {
            let Index {
                kind,
                name,
                columns,
            } = index;
            format!("CREATE {kind}INDEX IF NOT EXISTS {name} ON {table} ({columns})")
        });
        std::iter::once(create).chain(indexes).collect()
    }
}

/// What removes the tables, in order: MySQL removes all of them in one statement, or none.
pub(crate) fn removal(tables: &[Table], dialect: &Dialect) -> Vec<String> {
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    match dialect.backend {
        DbBackend::Sqlite => names
            .iter()
            .map(|name| format!("DROP TABLE IF EXISTS {name}"))
            .collect(),
        _ => vec![format!("DROP TABLE IF EXISTS {}", names.join(", "))],
    }
}
