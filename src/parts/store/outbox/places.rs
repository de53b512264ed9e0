//! Rows by partition, which follows from the hash of the key in the row.

use crate::domain::Stream;
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;

/// Some partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions {
    /// The stream of the topic.
    pub stream: Stream,
    /// How many partitions it has.
    pub count: u32,
    /// Which of them.
    pub numbers: Vec<u32>,
}

/// What not to read, because it cannot be published for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Nothing of these streams.
    pub streams: Vec<Stream>,
    /// Nothing for these partitions.
    pub partitions: Vec<Partitions>,
}

impl Partitions {
    /// Appends the condition that a row is for one of them.
    pub(super) fn condition(&self, sql: &mut Sql, columns: Columns) {
        sql.push("(").push(columns.stream).push(" = ");
        sql.bind(self.stream.as_str());
        sql.push(" AND ").push(columns.key_hash).push(" % ");
        sql.bind(self.count.max(1)).push(" IN ");
        sql.list(padded(&self.numbers)).push(")");
    }
}

impl Without {
    /// Appends the condition that a row is to be read.
    pub(super) fn condition(&self, sql: &mut Sql, columns: Columns) {
        for stream in &self.streams {
            sql.push(" AND ").push(columns.stream).push(" <> ");
            sql.bind(stream.as_str());
        }
        for partitions in &self.partitions {
            sql.push(" AND NOT ");
            partitions.condition(sql, columns);
        }
    }
}

/// The columns that determine the partition of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    pub(super) stream: &'static str,
    pub(super) key_hash: &'static str,
}
