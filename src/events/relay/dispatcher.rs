//! Gives the events of the streams that this relay owns to the sender, in order of sequence, each once. Events are
//! handed over after their commit, or read from the database. An event without room in the sender waits in its
//! stream.

mod poll;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::owner::Term;
use super::pace::Pace;
use super::report::ParkerReport;
use super::sender::SenderHandle;
use super::stream::{Ready, Stream, holds_back};
use super::window::Claim;
use super::{Context, Item, KeyPolicy, Map, Origin};
use crate::domain::{CampaignId, CommittedEvents, EventId, KeyChoice, StreamId, Topic};
use crate::parts::store::{LogEntry, StreamKey};
use crate::runtime::supervisor::BoxError;

/// Hints received at once.
const HINTS_AT_ONCE: usize = 64;
/// How often a stream is checked while it waits for one of its events.
const BLOCKED_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Dispatcher {
    context: Context,
    sender: SenderHandle,
    /// The tenure of each owned bucket whose blocked keys are known.
    terms: BTreeMap<u16, Term>,
    streams: Map<StreamId, Stream>,
    /// Streams with ready events, each once, in round-robin order.
    active: VecDeque<StreamId>,
    /// Campaigns with new events: the ends of their streams must be read.
    appended_campaigns: BTreeSet<CampaignId>,
    pace: Pace,
    next_poll: Instant,
    /// When all streams are checked.
    next_sweep: Instant,
    /// The stream that was read last: the next one goes first.
    last_read: StreamId,
}

/// Why a stream waits.
enum Wait {
    /// Until events in flight are done.
    Room,
    /// For this time.
    For(Duration),
}

impl Dispatcher {
    pub(super) fn new(context: &Context, sender: SenderHandle) -> Self {
        let now = Instant::now();
        Self {
            context: Context::clone(context),
            sender,
            terms: BTreeMap::new(),
            streams: Map::default(),
            active: VecDeque::new(),
            appended_campaigns: BTreeSet::new(),
            pace: Pace::new(now),
            next_poll: now,
            next_sweep: now,
            last_read: StreamId::of_participations(CampaignId(0)),
        }
    }

    /// Runs until it is stopped. The sender finishes the events in flight.
    pub(super) async fn run(
        mut self,
        mut hints: mpsc::Receiver<CommittedEvents>,
        stop: CancellationToken,
    ) -> Result<(), BoxError> {
        let context = Context::clone(&self.context);
        let mut committed = Vec::new();
        let mut hints_open = true;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = context.wake.notified() => self.poll_within(Duration::ZERO),
                count = hints.recv_many(&mut committed, HINTS_AT_ONCE), if hints_open => {
                    hints_open = count > 0;
                    for committed in committed.drain(..) {
                        self.on_hint(committed);
                    }
                    self.dispatch();
                }
                () = context.in_flight.room.notified() => {
                    self.dispatch();
                    self.poll_within(Duration::ZERO);
                }
                () = tokio::time::sleep_until(self.next_poll) => self.on_poll().await,
            }
        }
    }

    fn poll_within(&mut self, delay: Duration) {
        self.next_poll = self.next_poll.min(Instant::now() + delay);
    }

    fn on_hint(&mut self, committed: CommittedEvents) {
        self.pace
            .handed_over(committed.events.len(), Instant::now());
        let id = committed.stream;
        if !self.context.ownership.owns(id.bucket()) {
            return self.context.foreign_streams.add(id.campaign);
        }
        // What another primary committed may be missing now, and its sequence may belong to another event.
        let replaced_at = self.context.store.replaced_at();
        let is_current = replaced_at.is_none_or(|at| committed.committed_at > at);
        let has_events = is_current && !committed.events.is_empty();
        let events_max = Stream::share(self.active.len());
        match self.streams.get_mut(&id) {
            Some(stream) if has_events && !stream.window.is_lost() => {
                if stream.hint(committed, events_max) {
                    self.activate(id);
                } else if stream.unread() > 0 {
                    // A hint for the preceding events may still arrive.
                    self.poll_within(self.context.config.poll_min);
                }
            }
            _ => {
                self.appended_campaigns.insert(id.campaign);
                self.poll_within(self.context.config.poll_min);
            }
        }
    }

    fn activate(&mut self, stream: StreamId) {
        if !self.active.contains(&stream) {
            self.active.push_back(stream);
        }
    }

    /// Dispatches what is ready, stream by stream, as far as there is room.
    fn dispatch(&mut self) {
        for _ in 0..self.active.len() {
            let Some(id) = self.active.pop_front() else {
                return;
            };
            match self.dispatch_stream(id) {
                None => {}
                Some(Wait::Room) => {
                    self.active.push_back(id);
                    if self.context.in_flight.left() > 0 {
                        // The sender has no room.
                        self.poll_within(self.context.config.poll_min);
                    }
                }
                Some(Wait::For(wait)) => {
                    self.active.push_back(id);
                    self.poll_within(wait.max(self.context.config.poll_min));
                }
            }
        }
    }

    /// Dispatches the ready events of one stream; none: all of them.
    fn dispatch_stream(&mut self, id: StreamId) -> Option<Wait> {
        let context = Context::clone(&self.context);
        let stream = self.streams.get_mut(&id)?;
        if stream.window.is_lost() {
            return Some(Wait::For(Duration::ZERO));
        }
        if !context.ownership.may_send(id.bucket()) {
            return Some(Wait::For(context.config.poll_max));
        }
        let mut room = context.in_flight.left();
        while let Some(ready) = stream.ready.front() {
            if room == 0 {
                return Some(Wait::Room);
            }
            let mut place = None;
            if let Ready::Send { event, .. } = ready {
                let key = (id, Arc::clone(&event.key));
                if let Some(wait) = context.breakers.topic_wait(id.topic) {
                    // The whole topic waits, so the order is kept.
                    return Some(Wait::For(wait));
                }
                if context.is_stream_key(&key) && context.blocked_keys.contains(&key) {
                    return Some(Wait::For(BLOCKED_PAUSE));
                }
                // The place is reserved first: a claim without a place would be lost.
                place = self.sender.reserve();
                if place.is_none() {
                    return Some(Wait::Room);
                }
            }
            let ready = stream.ready.pop_front()?;
            let claim = Claim::next(&context, &stream.window);
            room -= 1;
            context.dispatch_one(&self.sender, place, ready, claim);
        }
        None
    }
}

impl super::RelayContext {
    /// Whether all events of a stream have this key.
    pub(super) fn is_stream_key(&self, (stream, key): &StreamKey) -> bool {
        match stream.topic {
            Topic::Campaign => true,
            Topic::Order => false,
            Topic::Participation => {
                self.config.key_choice == KeyChoice::Campaign
                    && **key == *stream.campaign.to_string()
            }
        }
    }

    fn dispatch_one(
        &self,
        sender: &SenderHandle,
        place: Option<mpsc::Permit<'_, Item>>,
        ready: Ready,
        claim: Claim,
    ) {
        let at = claim.place();
        match ready {
            Ready::Send {
                event,
                committed_at,
            } => {
                if committed_at.is_some() {
                    self.metrics.wake_hits.inc();
                }
                let item = Item {
                    event,
                    origin: Origin::Log(claim),
                    alone: false,
                    committed_at,
                };
                if let Some(place) = place {
                    place.send(item);
                }
            }
            Ready::Held(event) => {
                self.hold((at.stream, event.key));
                claim.done();
            }
            Ready::Read(LogEntry::Parked(row, state)) => {
                if self.config.key_policy == KeyPolicy::Block && holds_back(state) {
                    self.hold(row.stream_key());
                }
                claim.done();
            }
            Ready::Read(LogEntry::Unreadable { place, id, error }) => {
                sender.park(ParkerReport::Unreadable {
                    place,
                    id,
                    error,
                    claim,
                });
            }
            Ready::Read(LogEntry::Event(_)) | Ready::Missing => {
                sender.park(ParkerReport::Unreadable {
                    place: at,
                    // The original id is lost with the event.
                    id: EventId::generate(),
                    error: "its event is missing".to_owned(),
                    claim,
                });
            }
        }
    }

    /// Later events of this key go through the parker, which checks in the database whether they must wait.
    fn hold(&self, key: StreamKey) {
        self.held_may_be_acknowledged.store(true, Ordering::Release);
        if self.config.key_policy == KeyPolicy::Block {
            self.blocked_keys.block_parked(key);
        }
    }
}
