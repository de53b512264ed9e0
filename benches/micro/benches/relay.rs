//! What the relay makes of an event before librdkafka has it.

use std::hint::black_box;

use criterion::Criterion;
use firstcome::domain::{
    CampaignId, KeyChoice, OutboxEvent, Participation, ParticipationId, Status,
};
use firstcome::parts::broker::Record;
use firstcome::parts::broker::kafka::headers;
use micro::{now, user};

/// The record of an event, and its headers.
pub fn encoding(criterion: &mut Criterion) {
    let event = event();
    criterion.bench_function("relay/encode", |bencher| {
        bencher.iter(|| {
            let record = Record::of(black_box(&event), "firstcome");
            let headers = headers(&record);
            (record, headers)
        });
    });
}

fn event() -> OutboxEvent {
    let participation = Participation {
        id: ParticipationId::generate(),
        campaign_id: CampaignId(1),
        user_id: user(1),
        quantity: 1,
        rank: 1,
        status: Status::Confirmed,
        remaining: None,
        amount: None,
        payment_reference: None,
        expires_at: None,
        created_at: now(),
    };
    OutboxEvent::about(&participation, 1, KeyChoice::Participation, now())
}
