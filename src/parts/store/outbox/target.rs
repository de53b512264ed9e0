//! Parked rows by the topic and the partition that their records go to.

use crate::domain::Topic;
use crate::parts::store::shapes::padded;
use crate::parts::store::sql::Sql;

/// Some partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions {
    /// The topic.
    pub topic: Topic,
    /// How many partitions it has.
    pub count: u32,
    /// Which of them.
    pub numbers: Vec<u32>,
}

impl Partitions {
    /// Appends the condition that a row is for one of them.
    fn condition(&self, sql: &mut Sql) {
        sql.push("(p.topic = ").bind(self.topic.as_str());
        sql.push(" AND p.key_hash % ").bind(self.count.max(1));
        sql.push(" IN ").list(padded(&self.numbers)).push(")");
    }
}

/// Which parked rows are read, by where their records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// All but those of these topics and these partitions.
    AllBut(Vec<Topic>, Vec<Partitions>),
    /// Those of these partitions alone.
    Only(Partitions),
}

impl Targets {
    /// All of them.
    pub const ALL: Self = Self::AllBut(Vec::new(), Vec::new());

    /// Appends the condition that a row, `p`, is to be read.
    pub(super) fn condition(&self, sql: &mut Sql) {
        match self {
            Self::AllBut(topics, partitions) => {
                for topic in topics {
                    sql.push(" AND p.topic <> ").bind(topic.as_str());
                }
                for partitions in partitions {
                    sql.push(" AND NOT ");
                    partitions.condition(sql);
                }
            }
            Self::Only(partitions) => {
                sql.push(" AND ");
                partitions.condition(sql);
            }
        }
    }
}
