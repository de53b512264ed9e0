//! The events about a campaign, derived from its row before and after a change. Pure.
//!
//! A change of a campaign's row writes the events that follow from it: the settings that changed, and then the new state
//! or stock. Transitions by the clock or by sales since the last event are written first, so that none is missing, even
//! if two follow each other faster than they are written.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::words::words;
use super::{Campaign, State, Timestamp};

words! {
    /// What happened to a campaign.
    pub enum CampaignEventType {
        /// It was created, in any state.
        Created = "created",
        /// Its settings were changed, or it became a draft or scheduled.
        Changed = "changed",
        /// It takes participations from now on.
        Opened = "opened",
        /// An admin stopped it for a while.
        Paused = "paused",
        /// It is over.
        Closed = "closed",
        /// All units are committed.
        SoldOut = "sold_out",
        /// There are units again.
        BackInStock = "back_in_stock",
        /// It left the catalogue.
        Archived = "archived",
    }
}

impl CampaignEventType {
    /// The `ce_type` of the event.
    #[must_use]
    pub fn ce_type(self) -> String {
        ["firstcome.campaign.", self.as_str()].concat()
    }

    /// The event of getting into a state; none: the state is a setting like others.
    const fn of_state(state: State) -> Option<Self> {
        match state {
            State::Draft | State::Scheduled => None,
            State::Open => Some(Self::Opened),
            State::Paused => Some(Self::Paused),
            State::Closed => Some(Self::Closed),
            State::Archived => Some(Self::Archived),
        }
    }
}

/// An event about a campaign, before it has a place in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignEvent {
    /// What happened.
    pub what: CampaignEventType,
    /// The campaign afterwards.
    pub campaign: Campaign,
    /// Names of the changed fields, in the API; only of `changed`.
    pub changed_fields: Vec<&'static str>,
}

impl CampaignEvent {
    /// The value of the record.
    #[must_use]
    pub fn payload(&self, at: Timestamp) -> String {
        let campaign = &self.campaign;
        let time = |at: Timestamp| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut value: Map<String, Value> = [
            ("campaignId", json!(campaign.id)),
            ("name", json!(campaign.name)),
            ("kind", json!(campaign.kind)),
            ("state", json!(campaign.state)),
            ("totalStock", json!(campaign.total_stock)),
            ("currentStock", json!(campaign.current_stock())),
            ("opensAt", json!(campaign.opens_at.map(time))),
            ("closesAt", json!(campaign.closes_at.map(time))),
            ("occurredAt", json!(time(at))),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect();
        if self.what == CampaignEventType::Changed {
            value.insert("changedFields".to_owned(), json!(self.changed_fields));
        }
        Value::Object(value).to_string()
    }
}

/// The events of one transaction about a campaign, in order.
#[derive(Clone, Debug)]
pub struct CampaignLog {
    events: Vec<CampaignEvent>,
    is_sold_out: bool,
}

impl CampaignLog {
    /// A log without events. `is_sold_out`: what the last event about the stock said.
    #[must_use]
    pub const fn new(is_sold_out: bool) -> Self {
        Self {
            events: Vec::new(),
            is_sold_out,
        }
    }

    /// The campaign was created.
    #[must_use]
    pub fn created(campaign: &Campaign) -> Self {
        let mut log = Self::new(false);
        log.push(CampaignEventType::Created, campaign);
        if campaign.state == State::Open {
            log.push(CampaignEventType::Opened, campaign);
        }
        log.stock(campaign);
        log
    }

    /// The clock has brought the campaign into the state `to`. Returns the campaign in that state.
    pub fn moved_by_clock(&mut self, campaign: &Campaign, to: State) -> Campaign {
        let mut current = campaign.clone();
        match (campaign.state, to) {
            (from, to) if from == to => {}
            (State::Scheduled, State::Closed) => {
                self.moved(&mut current, State::Open);
                self.moved(&mut current, State::Closed);
            }
            (_, to) => self.moved(&mut current, to),
        }
        current
    }

    /// An admin changed the campaign. `now` is the time of a change of its state; none: its state stays.
    pub fn changed(&mut self, before: &Campaign, after: &Campaign, now: Option<Timestamp>) {
        let clock = now.map_or(before.state, |now| before.state_at(now));
        let is_over = matches!(after.state, State::Closed | State::Archived);
        // One that is over by the clock, and that the change keeps going, has not ended.
        let before = if clock != State::Closed || is_over {
            self.moved_by_clock(before, clock)
        } else {
            before.clone()
        };
        self.stock(&before);
        let what = (after.state != before.state).then(|| CampaignEventType::of_state(after.state));
        let what = what.flatten();
        let changed_fields = changed_fields(&before, after, what);
        if !changed_fields.is_empty() {
            self.events.push(CampaignEvent {
                what: CampaignEventType::Changed,
                campaign: after.clone(),
                changed_fields,
            });
        }
        if let Some(what) = what {
            self.push(what, after);
        }
        self.stock(after);
    }

    /// Compares the stock of a campaign on sale with what the last event said of it.
    pub fn stock(&mut self, campaign: &Campaign) {
        let is_on_sale = matches!(campaign.state, State::Open | State::Paused);
        let is_sold_out = campaign.current_stock() == Some(0);
        if !is_on_sale || is_sold_out == self.is_sold_out {
            return;
        }
        self.is_sold_out = is_sold_out;
        let what = if is_sold_out {
            CampaignEventType::SoldOut
        } else {
            CampaignEventType::BackInStock
        };
        self.push(what, campaign);
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> &[CampaignEvent] {
        &self.events
    }

    /// What the last event about the stock said.
    #[must_use]
    pub const fn is_sold_out(&self) -> bool {
        self.is_sold_out
    }

    /// The campaign is in another state from now on.
    fn moved(&mut self, campaign: &mut Campaign, state: State) {
        self.stock(campaign);
        campaign.state = state;
        if let Some(what) = CampaignEventType::of_state(state) {
            self.push(what, campaign);
        }
    }

    fn push(&mut self, what: CampaignEventType, campaign: &Campaign) {
        self.events.push(CampaignEvent {
            what,
            campaign: campaign.clone(),
            changed_fields: Vec::new(),
        });
    }
}

/// The names of the fields that differ and that no event of the state, `what`, tells.
fn changed_fields(
    before: &Campaign,
    after: &Campaign,
    what: Option<CampaignEventType>,
) -> Vec<&'static str> {
    let mut names = Vec::new();
    // The name of a field, and its member.
    macro_rules! compare {
        ($($name:literal: $field:ident,)*) => {
            $(if before.$field != after.$field { names.push($name); })*
        };
    }
    compare! {
        "name": name,
        "description": description,
        "totalStock": total_stock,
        "perUserLimit": per_user_limit,
        "maxQuantity": max_quantity,
        "price": price,
        "holdSeconds": hold_seconds,
        "closesAt": closes_at,
        "reward": reward,
        "cancellable": cancellable,
    }
    // Opening ahead of the schedule drops the time of opening.
    if before.opens_at != after.opens_at && what != Some(CampaignEventType::Opened) {
        names.push("opensAt");
    }
    if before.state != after.state && what.is_none() {
        names.push("state");
    }
    names
}

#[cfg(test)]
mod tests;
