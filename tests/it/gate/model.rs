//! The gate in plain Rust, by its contract. The scripts are compared with it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use firstcome::domain::{ParticipationId, Refusal, State, Timestamp, UserId};
use firstcome::parts::gate::{
    Admission, Configured, Entrant, GateState, GivenBack, Lease, Mark, Return, Settings, UserUnits,
};

/// One campaign at a fixed time.
pub struct Model {
    now: Timestamp,
    state: Option<Held>,
    /// Settings of an ended campaign, without a state.
    over: Option<Settings>,
}

struct Held {
    epoch: u64,
    settings: Settings,
    last_rank: u64,
    known_returns: u64,
    returned: HashSet<u64>,
    /// Admitted in this epoch, and neither released nor returned.
    standing: HashMap<ParticipationId, Entrant>,
    /// Returned, by the number of the return.
    gone: HashMap<ParticipationId, Entrant>,
    numbers: Vec<Option<ParticipationId>>,
    holdings: HashMap<UserId, Holding>,
    leases: HashMap<ParticipationId, (Entrant, Lease)>,
}

#[derive(Default)]
struct Holding {
    units: u64,
    /// Unknown if it was released while the user has other participations.
    first: Option<ParticipationId>,
}

impl Model {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            state: None,
            over: None,
        }
    }

    pub fn admit(&mut self, entrants: &[Entrant]) -> Vec<Admission> {
        let now = self.now;
        let answer = |entrant: &Entrant| match &mut self.state {
            Some(held) => held.admit(*entrant, now),
            None => Admission::Missing,
        };
        entrants.iter().map(answer).collect()
    }

    pub fn settle(&mut self, ids: &[ParticipationId]) {
        if let Some(held) = &mut self.state {
            held.leases.retain(|id, _| !ids.contains(id));
        }
    }

    pub fn release(&mut self, ids: &[ParticipationId]) -> u64 {
        let Some(held) = &mut self.state else {
            return 0;
        };
        ids.iter().map(|id| held.release(*id)).sum()
    }

    /// The arguments of a return for the gate: the participations that are not returned yet, and repetitions.
    pub fn returns_of(&mut self, ids: &[ParticipationId]) -> (u64, Vec<Return>) {
        let Some(held) = &mut self.state else {
            return (1, Vec::new());
        };
        let mut returns = Vec::new();
        for id in ids {
            let Some(entrant) = held.standing.get(id).or_else(|| held.gone.get(id)) else {
                continue;
            };
            let next = held.known_returns + held.numbers.len() as u64 + 1;
            let known = held.numbers.iter().position(|known| *known == Some(*id));
            let number = known.map_or(next, |at| held.known_returns + at as u64 + 1);
            if known.is_none() {
                held.numbers.push(Some(*id));
            }
            let entrant = *entrant;
            held.gone.insert(*id, entrant);
            returns.push(Return {
                number,
                participation: *id,
                user: entrant.user,
                quantity: entrant.quantity,
            });
        }
        (held.epoch, returns)
    }

    pub fn give_back(&mut self, epoch: u64, returns: &[Return]) -> GivenBack {
        match &mut self.state {
            Some(held) if held.epoch == epoch => {
                GivenBack::Units(returns.iter().map(|one| held.give_back(*one)).sum())
            }
            Some(held) if held.epoch > epoch => GivenBack::Units(0),
            _ => GivenBack::Behind,
        }
    }

    pub fn configure(&mut self, settings: &Settings) -> Configured {
        let in_force = match &mut self.state {
            Some(held) => &mut held.settings,
            None if settings.is_over() => self.over.get_or_insert(*settings),
            None => return Configured::Missing,
        };
        if in_force.is_newer_than(settings) {
            return Configured::Stale;
        }
        *in_force = *settings;
        Configured::Applied
    }

    pub fn rebuild(
        &mut self,
        epoch: u64,
        settings: &Settings,
        seats: &[UserUnits],
        mark: Mark,
    ) -> bool {
        if self.state.as_ref().is_some_and(|held| held.epoch >= epoch) {
            return false;
        }
        let in_force = self.state.as_ref().map(|held| held.settings);
        let in_force = in_force.or(self.over.take());
        let newer = in_force.filter(|in_force| in_force.is_newer_than(settings));
        let settings = newer.unwrap_or(*settings);
        let holding = |seat: &UserUnits| Holding {
            units: seat.units.into(),
            first: Some(seat.first),
        };
        self.state = Some(Held {
            epoch,
            settings,
            last_rank: mark.last_rank,
            known_returns: mark.returns,
            returned: HashSet::new(),
            standing: HashMap::new(),
            gone: HashMap::new(),
            numbers: Vec::new(),
            holdings: seats
                .iter()
                .map(|seat| (seat.user, holding(seat)))
                .collect(),
            leases: HashMap::new(),
        });
        true
    }

    pub fn inspect(&self) -> Option<GateState> {
        self.state.as_ref().map(|held| GateState {
            epoch: held.epoch,
            units: held.units(),
            last_rank: held.last_rank,
            remaining: held.remaining(),
            leases: held.leases.len() as u64,
            users: held.holdings.len() as u64,
            returns: held.known_returns + held.returned.len() as u64,
            settings: held.settings,
        })
    }
}

impl Held {
    fn units(&self) -> u64 {
        self.holdings.values().map(|holding| holding.units).sum()
    }

    fn remaining(&self) -> Option<u64> {
        let total = self.settings.total_stock?;
        Some(total.saturating_sub(self.units()))
    }

    fn admit(&mut self, entrant: Entrant, now: Timestamp) -> Admission {
        if let Some((_, ticket)) = self.leases.get(&entrant.participation) {
            return Admission::Admitted(*ticket);
        }
        if let Some(refusal) = self.refusal(entrant, now) {
            let remaining = self.remaining();
            return match refusal {
                Refusal::AlreadyParticipated { first } if self.leases.contains_key(&first) => {
                    Admission::Undecided { first, remaining }
                }
                refusal => Admission::Refused { refusal, remaining },
            };
        }
        let holding = self.holdings.entry(entrant.user).or_default();
        holding.units += u64::from(entrant.quantity);
        holding.first = holding.first.or(Some(entrant.participation));
        self.last_rank += 1;
        let ticket = Lease {
            epoch: self.epoch,
            rank: self.last_rank,
            remaining: self.remaining(),
            lease_until: now,
            left: Duration::ZERO,
            not_refused_for: None,
        };
        self.leases.insert(entrant.participation, (entrant, ticket));
        self.standing.insert(entrant.participation, entrant);
        // Ids are repeated here, which never happens in the store.
        self.gone.remove(&entrant.participation);
        for known in &mut self.numbers {
            if *known == Some(entrant.participation) {
                *known = None;
            }
        }
        Admission::Admitted(ticket)
    }

    fn refusal(&self, entrant: Entrant, now: Timestamp) -> Option<Refusal> {
        let settings = &self.settings;
        let (held, first) = self
            .holdings
            .get(&entrant.user)
            .map_or((0, None), |holding| (holding.units, holding.first));
        let wanted = u64::from(entrant.quantity);
        match settings.state {
            State::Draft => {
                let opens_at = settings.opens_at;
                return Some(Refusal::NotOpenYet { opens_at });
            }
            State::Paused => return Some(Refusal::Paused),
            State::Closed | State::Archived => return Some(Refusal::Ended),
            State::Scheduled | State::Open => {}
        }
        if let Some(opens_at) = settings.opens_at.filter(|opens_at| now < *opens_at) {
            let opens_at = Some(opens_at);
            return Some(Refusal::NotOpenYet { opens_at });
        }
        if settings.closes_at.is_some_and(|closes_at| now >= closes_at) {
            return Some(Refusal::Ended);
        }
        if entrant.quantity > settings.max_quantity {
            return Some(Refusal::LimitExceeded);
        }
        if let (1, 1.., Some(first)) = (settings.per_user_limit, held, first) {
            return Some(Refusal::AlreadyParticipated { first });
        }
        if held + wanted > u64::from(settings.per_user_limit) {
            return Some(Refusal::LimitExceeded);
        }
        let total = settings.total_stock.unwrap_or(u64::MAX);
        (self.units() + wanted > total).then_some(Refusal::SoldOut)
    }

    fn give_back(&mut self, one: Return) -> u64 {
        if one.number <= self.known_returns || !self.returned.insert(one.number) {
            return 0;
        }
        let units = u64::from(one.quantity);
        self.leases.remove(&one.participation);
        self.standing.remove(&one.participation);
        if let Some(holding) = self.holdings.get_mut(&one.user) {
            holding.units = holding.units.saturating_sub(units);
            holding.first = holding.first.filter(|first| *first != one.participation);
            if holding.units == 0 {
                self.holdings.remove(&one.user);
            }
        }
        units
    }

    fn release(&mut self, id: ParticipationId) -> u64 {
        let Some((entrant, _)) = self.leases.remove(&id) else {
            return 0;
        };
        self.standing.remove(&id);
        let units = u64::from(entrant.quantity);
        let holding = self.holdings.get_mut(&entrant.user).unwrap();
        holding.units -= units;
        holding.first = holding.first.filter(|first| *first != id);
        if holding.units == 0 {
            self.holdings.remove(&entrant.user);
        }
        units
    }
}
