//! One producer of librdkafka, and the thread that hands on its acknowledgements.
//!
//! The client library's own (`FutureProducer`) waits for them a tenth of a second at a time, in whole
//! milliseconds, and spends what is left of the last one asking again and again: a hundredth of a core for
//! each producer, used or not. This one waits for a little more than whole milliseconds, and for longer
//! (docs/decisions/0009).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use tokio::sync::oneshot;

use super::Traced;
use crate::parts::broker::Acknowledged;

/// How long the thread waits for acknowledgements at a time, and who ends the producer for the thread. The odd
/// part is what rounding down takes.
const WAIT: Duration = Duration::from_micros(250_050);

/// A record on its way into librdkafka's queue, which copies it.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

/// What became of a record: where it is, by the broker's word.
type Report = Result<Acknowledged, Undelivered>;

/// A record that nobody acknowledged.
#[derive(Debug)]
pub(super) struct Undelivered {
    pub(super) failure: KafkaError,
    /// Where it was to go, once that was chosen.
    pub(super) partition: Option<i32>,
}

impl From<KafkaError> for Undelivered {
    fn from(failure: KafkaError) -> Self {
        let partition = None;
        Self { failure, partition }
    }
}

/// A handle of a producer. With the last one the producer ends.
#[derive(Clone)]
pub(super) struct Sender(Arc<Handle>);

struct Handle {
    producer: Arc<BaseProducer<Traced>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("a producer's thread broke off");
        }
    }
}

/// Tells whoever sent a record what became of it.
impl ProducerContext for Traced {
    type DeliveryOpaque = Box<oneshot::Sender<Report>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let report = match result {
            Ok(message) => Ok(Acknowledged {
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((failure, message)) => Err(Undelivered {
                failure: failure.clone(),
                partition: Some(message.partition()).filter(|partition| *partition >= 0),
            }),
        };
        // Who does not wait any more does not need to know.
        drop(waiting.send(report));
    }
}

impl Sender {
    pub(super) fn new(config: &ClientConfig) -> KafkaResult<Self> {
        let producer = BaseProducer::from_config_and_context(config, Traced)?;
        let producer = Arc::new(producer);
        let stop = Arc::new(AtomicBool::default());
        let (polled, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        let hand_on = move || {
            while !stopped.load(Ordering::Relaxed) {
                polled.poll(WAIT);
            }
        };
        let thread = std::thread::Builder::new()
            .name("acknowledged".to_owned())
            .spawn(hand_on)
            .map_err(|failure| KafkaError::ClientCreation(failure.to_string()))?;
        Ok(Self(Arc::new(Handle {
            producer,
            stop,
            thread: Some(thread),
        })))
    }

    /// Lets the thread end, as dropping the last handle does, which waits for it as well. What is sent from
    /// now on is not reported.
    pub(super) fn end(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Whether both are of the same producer.
    #[cfg(test)]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Sends a record and waits for its report. No waiting here for room in the queue: whoever sends
    /// knows better what to do meanwhile.
    pub(super) async fn send(&self, outgoing: Outgoing<'_>) -> Report {
        let (waiting, report) = oneshot::channel();
        let mut record: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord::with_opaque_to(outgoing.topic, Box::new(waiting)).headers(outgoing.headers);
        record.key = outgoing.key;
        record.payload = outgoing.payload;
        self.0
            .producer
            .send(record)
            .map_err(|(failure, _)| failure)?;
        // The handle is held meanwhile, and with it the thread that reports.
        let unsaid = KafkaError::MessageProduction(RDKafkaErrorCode::PurgeInflight);
        report.await.unwrap_or(Err(unsaid.into()))
    }

    pub(super) fn client(&self) -> &Client<Traced> {
        self.0.producer.client()
    }

    /// Waits until everything is reported, or for so long.
    pub(super) fn flush(&self, within: Duration) -> KafkaResult<()> {
        self.0.producer.flush(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_ends_with_its_last_handle() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:9");
        let first = Sender::new(&config).unwrap();
        let producer = Arc::downgrade(&first.0.producer);
        let second = first.clone();
        drop(first);
        assert!(producer.upgrade().is_some());
        drop(second);
        assert!(producer.upgrade().is_none());
    }
}
