//! Parked rows by the topic and partition of their records.

use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, IntoCondition};

use crate::domain::Topic;
use crate::parts::store::entity::outbox_parked::Column;
use crate::parts::store::statement_lengths::padded;

/// Some partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions {
    /// The topic.
    pub topic: Topic,
    /// The number of its partitions.
    pub count: u32,
    /// The selected partitions.
    pub numbers: Vec<u32>,
}

impl Partitions {
    /// The condition that a row is for one of them.
    fn condition(&self) -> Expr {
        let partition = Column::KeyHash.into_expr().modulo(Ord::max(self.count, 1));
        let is_of_topic = Column::Topic.eq(self.topic.as_str());
        is_of_topic.and(partition.is_in(padded(&self.numbers)))
    }
}

/// A filter of parked rows by the target of their records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// All except these topics and these partitions.
    AllBut(Vec<Topic>, Vec<Partitions>),
    /// Only these partitions.
    Only(Partitions),
}

impl Targets {
    /// All rows.
    pub const ALL: Self = Self::AllBut(Vec::new(), Vec::new());

    /// The condition on a row.
    pub(super) fn condition(&self) -> Condition {
        match self {
            Self::AllBut(topics, partitions) => {
                let others = topics.iter().map(|topic| Column::Topic.ne(topic.as_str()));
                let elsewhere = partitions.iter().map(|these| these.condition().not());
                let both = others.chain(elsewhere);
                both.fold(Condition::all(), Condition::add)
            }
            Self::Only(partitions) => partitions.condition().into_condition(),
        }
    }
}
