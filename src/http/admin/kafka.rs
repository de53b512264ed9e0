//! The topics for those who watch the installation: their partitions, who leads them, and how far they are
//! written.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::domain::{Instant, KeyChoice};
use crate::http::auth::Admin;
use crate::http::json::Written;
use crate::http::problem::{Failure, documented};
use crate::http::{App, Section};
use crate::operate::system::{PartitionState, TopicState, TopicsState};

documented! {
    /// Problems of looking at the topics.
    Looking {
        401 => "No or no valid token (UNAUTHENTICATED, INVALID_TOKEN).",
        403 => "The token lacks the scope (MISSING_SCOPE), a user is asking (FORBIDDEN), or the admin API is closed (ADMIN_CLOSED).",
    }
}

/// What the key of a record is: records of one key are in one partition, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename = "RecordKey", rename_all = "snake_case")]
enum KeyWord {
    /// The participation.
    Participation,
    /// The user.
    User,
    /// The campaign.
    Campaign,
}

impl From<KeyChoice> for KeyWord {
    fn from(choice: KeyChoice) -> Self {
        match choice {
            KeyChoice::Participation => Self::Participation,
            KeyChoice::User => Self::User,
            KeyChoice::Campaign => Self::Campaign,
        }
    }
}

/// A partition of a topic.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Partition", rename_all = "camelCase")]
struct PartitionView {
    /// Its number, from 0.
    partition: i32,
    /// The broker that leads it; null: none does at the moment.
    #[oai(nullable)]
    leader: Option<i32>,
    /// Brokers that are to have a copy of it.
    replicas: u64,
    /// Those of them that are up to date.
    in_sync_replicas: u64,
    /// Offset of the first record that is still there; null: the leader does not say.
    #[oai(nullable)]
    first_offset: Option<i64>,
    /// Offset that the next record gets; null: the leader does not say.
    #[oai(nullable)]
    end_offset: Option<i64>,
}

impl From<&PartitionState> for PartitionView {
    fn from(state: &PartitionState) -> Self {
        Self {
            partition: state.number,
            leader: state.leader,
            replicas: count(state.replicas),
            in_sync_replicas: count(state.in_sync),
            first_offset: state.extent.map(|extent| extent.from),
            end_offset: state.extent.map(|extent| extent.to),
        }
    }
}

/// A topic.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Topic", rename_all = "camelCase")]
struct TopicView {
    /// Its name.
    name: String,
    /// Whether it is there, for this service to see.
    exists: bool,
    /// Its partitions, 0 while it is not there.
    partition_count: u64,
    /// Each of them, by number.
    partitions: Vec<PartitionView>,
}

impl From<&TopicState> for TopicView {
    fn from(state: &TopicState) -> Self {
        let found = state.partitions.iter().flatten();
        let partitions: Vec<PartitionView> = found.map(PartitionView::from).collect();
        Self {
            name: state.name.clone(),
            exists: state.partitions.is_some(),
            partition_count: count(partitions.len()),
            partitions,
        }
    }
}

/// The topics at a moment, a second old at most unless reading them takes long.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Topics")]
struct TopicsView {
    /// When this was read.
    at: Instant,
    /// What the key of a record is (`kafka.key`).
    key: KeyWord,
    /// The topics: of participations, of campaigns, each before that of its dead letters.
    topics: Vec<TopicView>,
}

impl From<&TopicsState> for TopicsView {
    fn from(state: &TopicsState) -> Self {
        Self {
            at: state.at,
            key: state.key.into(),
            topics: state.topics.iter().map(TopicView::from).collect(),
        }
    }
}

fn count(found: usize) -> u64 {
    u64::try_from(found).unwrap_or(u64::MAX)
}

/// The topics.
pub struct AdminKafkaApi;

#[OpenApi(tag = "Section::Admin")]
impl AdminKafkaApi {
    /// The partitions of the topics.
    ///
    /// Cheap to ask every second, by however many: it is read once for all of them. While no broker answers it
    /// is 503 (`BROKER_UNAVAILABLE`); while some do not, the offsets they would say are null.
    #[oai(
        path = "/api/admin/kafka/partitions",
        method = "get",
        operation_id = "partitions"
    )]
    async fn partitions(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Written<TopicsView>, Failure<Looking>> {
        let state = app.topics.state().await?;
        Ok(Written(TopicsView::from(&*state)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(partitions: Option<Vec<PartitionState>>) -> serde_json::Value {
        let name = "firstcome.participation.v1".to_owned();
        json!(TopicView::from(&TopicState { name, partitions }))
    }

    #[test]
    fn a_partition_without_a_leader_says_so_with_null() {
        let orphan = PartitionState {
            number: 0,
            leader: None,
            replicas: 3,
            in_sync: 1,
            extent: None,
        };
        let topic = said(Some(vec![orphan]));
        assert_eq!(
            (&topic["exists"], &topic["partitionCount"]),
            (&json!(true), &json!(1))
        );
        assert_eq!(
            topic["partitions"][0],
            json!({
                "partition": 0, "leader": null, "replicas": 3, "inSyncReplicas": 1,
                "firstOffset": null, "endOffset": null,
            })
        );
    }

    #[test]
    fn a_topic_that_is_missing_has_no_partitions() {
        let missing = said(None);
        let name = "firstcome.participation.v1";
        assert_eq!(
            missing,
            json!({ "name": name, "exists": false, "partitionCount": 0, "partitions": [] })
        );
    }
}
