//! One producer of librdkafka, and the thread that reports its acknowledgements.
//!
//! The client library's own producer (`FutureProducer`) polls for 100 ms at a time, in whole milliseconds, and polls
//! without a wait during the last one. This costs a hundredth of a core for each producer, used or not. This thread
//! waits for slightly more than whole milliseconds, and for longer (docs/decisions/0009).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use tokio::sync::Notify;

use super::Traced;
use crate::parts::broker::Acknowledged;

/// How long the thread waits for acknowledgements at a time. The part below a millisecond is what librdkafka rounds
/// down.
const WAIT: Duration = Duration::from_micros(250_050);

/// A record to be queued in librdkafka, which copies it.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) key: Option<&'a [u8]>,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
}

/// The result of a record: its position, from the broker.
pub(super) type DeliveryReport = Result<Acknowledged, Undelivered>;

/// A record without an acknowledgement.
#[derive(Debug)]
pub(super) struct Undelivered {
    pub(super) failure: KafkaError,
    /// Its partition, if it was selected.
    pub(super) partition: Option<i32>,
}

impl Undelivered {
    /// The result of a record whose producer ended first.
    const fn unreported() -> Self {
        Self {
            failure: KafkaError::MessageProduction(RDKafkaErrorCode::PurgeInflight),
            partition: None,
        }
    }
}

/// The results of records that were sent together.
#[derive(Default)]
struct Reports {
    state: Mutex<ReportState>,
    is_complete: Notify,
}

#[derive(Default)]
struct ReportState {
    reports: Vec<DeliveryReport>,
    /// Records that librdkafka has queued and not reported yet.
    outstanding: usize,
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, ReportState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects the result of one more record.
    fn expect(self: &Arc<Self>) -> Expected {
        let mut state = self.lock();
        let nth = state.reports.len();
        state.reports.push(Err(Undelivered::unreported()));
        state.outstanding += 1;
        Expected {
            reports: Arc::clone(self),
            nth,
        }
    }

    async fn complete(&self) -> Vec<DeliveryReport> {
        loop {
            let is_complete = self.is_complete.notified();
            {
                let mut state = self.lock();
                if state.outstanding == 0 {
                    return std::mem::take(&mut state.reports);
                }
            }
            is_complete.await;
        }
    }
}

/// The pending result of a record. If it is dropped without a result, the record counts as undelivered.
pub(super) struct Expected {
    reports: Arc<Reports>,
    nth: usize,
}

impl Expected {
    fn report(self, report: DeliveryReport) {
        if let Some(place) = self.reports.lock().reports.get_mut(self.nth) {
            *place = report;
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut state = self.reports.lock();
        state.outstanding = state.outstanding.saturating_sub(1);
        if state.outstanding == 0 {
            drop(state);
            self.reports.is_complete.notify_one();
        }
    }
}

/// A handle of a producer. The producer ends with the last handle.
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
            tracing::error!("the thread of a producer panicked");
        }
    }
}

/// Reports the result of each record to its sender.
impl ProducerContext for Traced {
    type DeliveryOpaque = Box<Expected>;

    fn delivery(&self, result: &DeliveryResult<'_>, expected: Self::DeliveryOpaque) {
        expected.report(match result {
            Ok(message) => Ok(Acknowledged {
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((failure, message)) => Err(Undelivered {
                failure: failure.clone(),
                partition: Some(message.partition()).filter(|partition| *partition >= 0),
            }),
        });
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

    /// Ends the thread. The drop of the last handle also does this, and waits for the thread. Records sent from now
    /// on are not reported.
    pub(super) fn end(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Whether both are handles of the same producer.
    #[cfg(test)]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Sends records in order and waits for their results. The first record without room in librdkafka's queue ends
    /// the list of results: later records are not sent. This function does not wait for room, because its caller
    /// knows better how to use the time.
    pub(super) async fn send(
        &self,
        records: impl IntoIterator<Item = Outgoing<'_>>,
    ) -> Vec<DeliveryReport> {
        let reports = Arc::new(Reports::default());
        for outgoing in records {
            let expected = Box::new(reports.expect());
            let mut record: BaseRecord<'_, [u8], [u8], _> =
                BaseRecord::with_opaque_to(outgoing.topic, expected).headers(outgoing.headers);
            record.key = outgoing.key;
            record.payload = outgoing.payload;
            if let Err((failure, record)) = self.0.producer.send(record) {
                let partition = None;
                let report = Err(Undelivered { failure, partition });
                record.delivery_opaque.report(report);
                break;
            }
        }
        // The handle stays alive meanwhile, and so does the thread that reports.
        reports.complete().await
    }

    pub(super) fn client(&self) -> &Client<Traced> {
        self.0.producer.client()
    }

    /// Waits until all records are reported, at most for this long.
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
