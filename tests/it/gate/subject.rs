//! The subject of a check: one new campaign in one gate, with short methods to call it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use firstcome::domain::{CampaignId, ParticipationId, Refusal, State, Timestamp, UserId};
use firstcome::parts::gate::{
    Admission, Entrant, Gate, GateState, GivenBack, HeldLease, Key, Lease, Mark, Return, Settings,
    UserUnits,
};

/// Passed, or the violation.
pub type Verdict = Result<(), String>;

/// Longer than any test.
pub const LEASE: Duration = Duration::from_secs(3_600);

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// The counters of a campaign without returns.
pub fn mark(last_rank: u64) -> Mark {
    Mark {
        last_rank,
        returns: 0,
    }
}

/// Fails the check unless both are equal.
pub fn same<T: PartialEq + Debug>(what: &str, got: &T, wanted: &T) -> Verdict {
    ensure!(got == wanted, "{what}: got {got:?}, wanted {wanted:?}");
    Ok(())
}

/// The lease of an earlier admission: the same one, with at most the time that was left then.
pub fn same_again(what: &str, got: &Admission, before: &Admission) -> Verdict {
    let (got, before) = (ticket(got)?, ticket(before)?);
    ensure!(got.left <= before.left, "{what}: left {:?}", got.left);
    let left = before.left;
    same(what, &Lease { left, ..got }, &before)
}

/// A separate campaign on a gate.
#[derive(Clone)]
pub struct Subject {
    pub gate: Arc<dyn Gate>,
    pub campaign: CampaignId,
    pub now: Timestamp,
}

impl Subject {
    pub fn new(gate: Arc<dyn Gate>, now: Timestamp) -> Self {
        Self {
            gate,
            campaign: CampaignId(7),
            now,
        }
    }

    /// This number of hours from now.
    pub fn hours(&self, hours: i64) -> Timestamp {
        self.now + TimeDelta::hours(hours)
    }

    /// Starts the campaign without participations.
    pub async fn start(&self, settings: &Settings) -> Verdict {
        let rebuilt = self.rebuild(1, settings, &[], 0).await?;
        same("the first rebuild", &rebuilt, &true)
    }

    pub async fn rebuild(
        &self,
        epoch: u64,
        settings: &Settings,
        seats: &[UserUnits],
        last_rank: u64,
    ) -> Result<bool, String> {
        self.rebuild_at(epoch, settings, seats, mark(last_rank))
            .await
    }

    pub async fn rebuild_at(
        &self,
        epoch: u64,
        settings: &Settings,
        seats: &[UserUnits],
        mark: Mark,
    ) -> Result<bool, String> {
        self.gate
            .rebuild(self.campaign, epoch, settings, seats, mark)
            .await
            .map_err(text)
    }

    pub async fn admit(&self, entrants: &[Entrant]) -> Result<Vec<Admission>, String> {
        let answers = self.gate.admit(self.campaign, entrants, LEASE).await;
        let answers = answers.map_err(text)?;
        same("number of answers", &answers.len(), &entrants.len())?;
        Ok(answers)
    }

    pub async fn ask(&self, entrant: Entrant) -> Result<Admission, String> {
        Ok(self.admit(&[entrant]).await?.remove(0))
    }

    /// Sends an admission, which must be accepted.
    pub async fn enter(&self, entrant: Entrant) -> Result<Lease, String> {
        ticket(&self.ask(entrant).await?)
    }

    /// Requires this refusal.
    pub async fn refused(
        &self,
        entrant: Entrant,
        refusal: Refusal,
        remaining: Option<u64>,
    ) -> Verdict {
        let wanted = Admission::Refused { refusal, remaining };
        same("the answer", &self.ask(entrant).await?, &wanted)
    }

    /// Sends an admission, which must be undecided because `first` is not settled yet.
    pub async fn undecided(
        &self,
        entrant: Entrant,
        first: Entrant,
        remaining: Option<u64>,
    ) -> Verdict {
        let first = first.participation;
        let wanted = Admission::Undecided { first, remaining };
        same("the answer", &self.ask(entrant).await?, &wanted)
    }

    pub async fn settle(&self, entrants: &[Entrant]) -> Verdict {
        let settled = self.gate.settle(self.campaign, &ids(entrants)).await;
        settled.map_err(text)
    }

    pub async fn release(&self, entrants: &[Entrant]) -> Result<u64, String> {
        let state = self.gate.inspect(self.campaign).await.map_err(text)?;
        let epoch = state.map_or(0, |state| state.epoch);
        self.release_of(epoch, entrants).await
    }

    /// Releases admissions of that epoch.
    pub async fn release_of(&self, epoch: u64, entrants: &[Entrant]) -> Result<u64, String> {
        let ids = ids(entrants);
        let released = self.gate.release(self.campaign, epoch, &ids).await;
        released.map_err(text)
    }

    /// Returns the units of these participations; `number` is the first number of the returns.
    pub async fn give_back(
        &self,
        epoch: u64,
        number: u64,
        entrants: &[Entrant],
    ) -> Result<GivenBack, String> {
        let returns: Vec<Return> = entrants
            .iter()
            .zip(number..)
            .map(|(entrant, number)| Return {
                number,
                participation: entrant.participation,
                user: entrant.user,
                quantity: entrant.quantity,
            })
            .collect();
        let given_back = self.gate.give_back(self.campaign, epoch, &returns).await;
        given_back.map_err(text)
    }

    pub async fn expired(&self, limit: usize) -> Result<Vec<HeldLease>, String> {
        self.gate.expired(self.campaign, limit).await.map_err(text)
    }

    /// The participations and epochs of the leases of this process.
    pub async fn leases(&self) -> Result<Vec<(ParticipationId, u64)>, String> {
        let owner = [self.gate.owner().to_owned()];
        let all = self.gate.leases_of(self.campaign, &owner, u64::MAX, 100);
        let leases = all.await;
        let leases = leases.map_err(text)?.into_iter();
        let mut leases: Vec<_> = leases
            .map(|lease| (lease.participation, lease.epoch))
            .collect();
        leases.sort_unstable();
        Ok(leases)
    }

    /// Advances the gate, as if this process were dead or not.
    pub async fn advance(&self, from: u64, to: u64, is_dead: bool) -> Result<bool, String> {
        let owner = [self.gate.owner().to_owned()];
        let dead = if is_dead { &owner[..] } else { &[] };
        let advanced = self.gate.advance(self.campaign, from, to, dead).await;
        advanced.map_err(text)
    }

    pub async fn state(&self) -> Result<GateState, String> {
        let state = self.gate.inspect(self.campaign).await.map_err(text)?;
        state.ok_or_else(|| "the gate has no state".to_owned())
    }
}

/// Open without a window: one unit per user and request.
pub fn settings(total_stock: Option<u64>) -> Settings {
    Settings {
        epoch: 1,
        version: 1,
        state: State::Open,
        opens_at: None,
        closes_at: None,
        total_stock,
        per_user_limit: 1,
        max_quantity: 1,
    }
}

/// Open without a window: ten units per user and request.
pub fn generous(total_stock: Option<u64>) -> Settings {
    Settings {
        per_user_limit: 10,
        max_quantity: 10,
        ..settings(total_stock)
    }
}

/// An entrant with a participation of its own.
pub fn entrant(user: i64, quantity: u32) -> Entrant {
    Entrant {
        participation: ParticipationId::generate(),
        user: UserId(user),
        quantity,
        key: Key::None,
    }
}

pub fn ids(entrants: &[Entrant]) -> Vec<ParticipationId> {
    entrants
        .iter()
        .map(|entrant| entrant.participation)
        .collect()
}

pub fn ticket(answer: &Admission) -> Result<Lease, String> {
    match answer {
        Admission::Admitted(ticket) => Ok(*ticket),
        other => Err(format!("expected an admission, got {other:?}")),
    }
}

pub fn tickets(answers: &[Admission]) -> Vec<Lease> {
    answers
        .iter()
        .filter_map(|answer| ticket(answer).ok())
        .collect()
}

pub fn already(first: Entrant) -> Refusal {
    Refusal::AlreadyParticipated {
        first: first.participation,
    }
}

pub fn text(error: impl Debug) -> String {
    format!("{error:?}")
}
