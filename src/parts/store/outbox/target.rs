//! Parked rows by the topic and the partition that their records go to.

use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, IntoCondition};

use crate::domain::Topic;
use crate::parts::store::entity::outbox_parked::Column;
use crate::parts::store::shapes::padded;

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
    /// The condition that a row is for one of them.
    fn condition(&self) -> Expr {
        let partition = Column::KeyHash.into_expr().modulo(Ord::max(self.count, 1));
        let is_of_topic = Column::Topic.eq(self.topic.as_str());
        is_of_topic.and(partition.is_in(padded(&self.numbers)))
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

    /// The condition that a row is to be read.
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
