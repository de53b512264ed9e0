//! The topics for admins: their partitions, leaders and offsets.

use crate::access::identity::CampaignRead;
use crate::domain::{KeyChoice, Timestamp};
use crate::http::operation::{
    Admin, AdminReading, AppRef, Failure, Json, OpenApi, Section, Word, view, vocabulary,
};
use crate::operate::system::{PartitionState, TopicState, TopicsState};

vocabulary!(
    KeyChoice,
    "RecordKey",
    "The key of a record. Records with one key are in one partition, in order."
);

view! {
    /// A partition of a topic.
    #[derive(PartialEq, Eq)]
    struct PartitionView as "Partition" from state: &PartitionState {
        /// Its number, from 0.
        partition: i32 = state.number,
        /// Id of the leading broker; null: there is none at the moment.
        #[oai(nullable)]
        leader: Option<i32>,
        /// Number of its replicas.
        replicas: u64 = count(state.replicas),
        /// Number of in-sync replicas.
        in_sync_replicas: u64 = count(state.in_sync),
        /// Offset of the first record; null: unknown.
        #[oai(nullable)]
        first_offset: Option<i64> = state.extent.map(|extent| extent.from),
        /// Offset of the next record; null: unknown.
        #[oai(nullable)]
        end_offset: Option<i64> = state.extent.map(|extent| extent.to),
    }
}

view! {
    /// A topic.
    #[derive(PartialEq, Eq)]
    struct TopicView as "Topic" from state: &TopicState {
        /// Its name.
        name: String = state.name.clone(),
        /// Whether it exists and is visible to this service.
        exists: bool = state.partitions.is_some(),
        /// Number of its partitions; 0 if it does not exist.
        partition_count: u64 = count(state.partitions.as_ref().map_or(0, Vec::len)),
        /// Its partitions, by number.
        partitions: Vec<PartitionView> = state
            .partitions
            .iter()
            .flatten()
            .map(PartitionView::from)
            .collect(),
    }
}

view! {
    /// The state of the topics, at most a second old unless reading it takes longer.
    struct TopicsView as "Topics" from state: &TopicsState {
        /// When it was read.
        at: Timestamp,
        /// The key of a record (`kafka.key`).
        key: Word<KeyChoice> = state.key.into(),
        /// The topics of participations and of campaigns, each followed by its dead letter topic.
        topics: Vec<TopicView> = state.topics.iter().map(TopicView::from).collect(),
    }
}

fn count(found: usize) -> u64 {
    u64::try_from(found).unwrap_or(u64::MAX)
}

/// The topics.
pub struct AdminKafkaApi;

#[OpenApi(prefix_path = "/api/admin/kafka", tag = "Section::Operations")]
impl AdminKafkaApi {
    /// Get the partitions of the topics.
    ///
    /// All clients share one read a second, so that it is cheap to poll. 503 (`BROKER_UNAVAILABLE`) if no broker
    /// answers; if some do not, their offsets are null.
    #[oai(path = "/partitions", method = "get", operation_id = "getPartitions")]
    async fn partitions(
        &self,
        app: AppRef<'_>,
        _admin: Admin<CampaignRead>,
    ) -> Result<Json<TopicsView>, Failure<AdminReading>> {
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
