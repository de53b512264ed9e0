//! The topics for admins: their partitions, leaders and offsets.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;

use crate::access::identity::CampaignRead;
use crate::domain::{Instant, KeyChoice};
use crate::http::auth::Admin;
use crate::http::json::Json;
use crate::http::problem::{Failure, documented};
use crate::http::words::{Word, vocabulary};
use crate::http::{App, Section};
use crate::operate::system::{PartitionState, TopicState, TopicsState};

documented! {
    Reading: [ADMIN] {}
}

vocabulary!(
    KeyChoice,
    "RecordKey",
    "The key of a record. Records with one key are in one partition, in order.",
    Participation = "participation",
    User = "user",
    Campaign = "campaign"
);

/// A partition of a topic.
#[derive(Debug, PartialEq, Eq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "Partition", rename_all = "camelCase")]
struct PartitionView {
    /// Its number, from 0.
    partition: i32,
    /// Id of the leading broker; null: there is none at the moment.
    #[oai(nullable)]
    leader: Option<i32>,
    /// Number of its replicas.
    replicas: u64,
    /// Number of in-sync replicas.
    in_sync_replicas: u64,
    /// Offset of the first record; null: unknown.
    #[oai(nullable)]
    first_offset: Option<i64>,
    /// Offset of the next record; null: unknown.
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
    /// Whether it exists and is visible to this service.
    exists: bool,
    /// Number of its partitions; 0 if it does not exist.
    partition_count: u64,
    /// Its partitions, by number.
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

/// The state of the topics, at most a second old unless reading it takes longer.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Topics")]
struct TopicsView {
    /// When it was read.
    at: Instant,
    /// The key of a record (`kafka.key`).
    key: Word<KeyChoice>,
    /// The topics of participations and of campaigns, each followed by its dead letter topic.
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
    /// Get the partitions of the topics.
    ///
    /// All clients share one read a second, so that it is cheap to poll. 503 (`BROKER_UNAVAILABLE`) if no broker
    /// answers; if some do not, their offsets are null.
    #[oai(
        path = "/api/admin/kafka/partitions",
        method = "get",
        operation_id = "partitions"
    )]
    async fn partitions(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Json<TopicsView>, Failure<Reading>> {
        let state = app.topics.state().await?;
        Ok(Json(TopicsView::from(&*state)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view_of(partitions: Option<Vec<PartitionState>>) -> serde_json::Value {
        let name = "firstcome.participation.v1".to_owned();
        json!(TopicView::from(&TopicState { name, partitions }))
    }

    #[test]
    fn the_leader_of_a_partition_without_one_is_null() {
        let orphan = PartitionState {
            number: 0,
            leader: None,
            replicas: 3,
            in_sync: 1,
            extent: None,
        };
        let topic = view_of(Some(vec![orphan]));
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
    fn a_missing_topic_has_no_partitions() {
        let missing = view_of(None);
        let name = "firstcome.participation.v1";
        assert_eq!(
            missing,
            json!({ "name": name, "exists": false, "partitionCount": 0, "partitions": [] })
        );
    }
}
