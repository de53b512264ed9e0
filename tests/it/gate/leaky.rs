//! Gates that are broken on purpose: each must fail its check.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use firstcome::domain::{CampaignId, ParticipationId, Refusal, UserId};
use firstcome::parts::gate::{
    Admission, Configured, Entrant, Footprint, Gate, GateError, GateState, GivenBack, HeldLease,
    Key, KeyDigest, KeyRefused, Mark, Return, Settings, UserUnits,
};

use super::subject::Subject;
use super::{CHECKS, in_process_subject};

/// How a gate is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leak {
    Nothing,
    OneOverTheStock,
    ForgetsUsers,
    ForgetsParticipations,
    AdmitsAPart,
    SkipsRanks,
    IgnoresTheWindow,
    NeverSettles,
    ReleasesWithoutALease,
    ReleasesOfAnyEpoch,
    GivesBackAgain,
    GivesBackOfAnyEpoch,
    KeepsThePlaceOfTheReturned,
    KeepsThePlaceOfTheReleased,
    HidesExpiredLeases,
    TakesOldSettings,
    DropsSettings,
    KeepsWhatIsOver,
    RebuildsBackwards,
    RebuildsWithoutSeats,
    AnswersBackwards,
    MixesCampaigns,
    ForgetsKeys,
    ForgetsThatKeysWereRefused,
    RefusesKeysWithoutALook,
    MixesOwners,
    AdvancesTheDead,
    LeavesTheLivingBehind,
    AdvancesFromAnyEpoch,
    ReleasesByIdAlone,
}

/// A correct gate, and its fault.
struct Leaky {
    inner: Arc<dyn Gate>,
    leak: Leak,
    /// Substitutes for the ids of participations, so that the correct gate does not recognise repetitions.
    stand_ins: Mutex<HashMap<ParticipationId, ParticipationId>>,
    counter: Mutex<u64>,
}

impl Leaky {
    fn subject(leak: Leak) -> Subject {
        let sound = in_process_subject();
        let gate = Self {
            inner: sound.gate,
            leak,
            stand_ins: Mutex::default(),
            counter: Mutex::new(1 << 30),
        };
        Subject::new(Arc::new(gate), sound.now)
    }

    fn has(&self, leak: Leak) -> bool {
        self.leak == leak
    }

    fn next(&self) -> u64 {
        let mut counter = self.counter.lock().unwrap();
        *counter += 1;
        *counter
    }

    fn campaign(&self, campaign: CampaignId) -> CampaignId {
        match self.leak {
            Leak::MixesCampaigns => CampaignId(1),
            _ => campaign,
        }
    }

    fn settings(&self, settings: &Settings) -> Settings {
        let mut settings = *settings;
        match self.leak {
            Leak::OneOverTheStock => {
                settings.total_stock = settings.total_stock.map(|total| total + 1);
            }
            Leak::IgnoresTheWindow => {
                settings.opens_at = None;
                settings.closes_at = None;
            }
            Leak::TakesOldSettings => settings.version = self.next(),
            _ => {}
        }
        settings
    }

    fn entrant(&self, mut entrant: Entrant) -> Entrant {
        if self.has(Leak::ForgetsUsers) {
            entrant.user = UserId(i64::try_from(self.next()).unwrap());
        }
        if self.has(Leak::ForgetsParticipations) {
            let stand_in = ParticipationId::generate();
            let mut stand_ins = self.stand_ins.lock().unwrap();
            stand_ins.insert(entrant.participation, stand_in);
            entrant.participation = stand_in;
        }
        if self.has(Leak::ForgetsKeys) {
            entrant.key = Key::None;
        }
        entrant
    }

    async fn answer(
        &self,
        campaign: CampaignId,
        entrant: Entrant,
        lease: Duration,
    ) -> Result<Admission, GateError> {
        let mut answers = self.inner.admit(campaign, &[entrant], lease).await?;
        match answers.remove(0) {
            Admission::Refused {
                refusal: Refusal::SoldOut,
                remaining: Some(left @ 1..),
            } if self.has(Leak::AdmitsAPart) => {
                let quantity = u32::try_from(left).unwrap();
                let part = Entrant {
                    quantity,
                    ..entrant
                };
                let mut answers = self.inner.admit(campaign, &[part], lease).await?;
                Ok(answers.remove(0))
            }
            Admission::Admitted(mut ticket) if self.has(Leak::SkipsRanks) => {
                ticket.rank *= 2;
                Ok(Admission::Admitted(ticket))
            }
            Admission::Admitted(mut ticket) if self.has(Leak::ForgetsThatKeysWereRefused) => {
                ticket.not_refused_for = ticket.not_refused_for.map(|_| lease);
                Ok(Admission::Admitted(ticket))
            }
            answer => Ok(answer),
        }
    }
}

#[async_trait]
impl Gate for Leaky {
    async fn admit(
        &self,
        campaign: CampaignId,
        entrants: &[Entrant],
        lease: Duration,
    ) -> Result<Vec<Admission>, GateError> {
        let campaign = self.campaign(campaign);
        if entrants.iter().any(|entrant| entrant.quantity == 0) {
            return self.inner.admit(campaign, entrants, lease).await;
        }
        let mut answers = Vec::new();
        for entrant in entrants {
            let entrant = self.entrant(*entrant);
            answers.push(self.answer(campaign, entrant, lease).await?);
        }
        if self.has(Leak::AnswersBackwards) {
            answers.reverse();
        }
        Ok(answers)
    }

    async fn refuse_key(
        &self,
        campaign: CampaignId,
        key: KeyDigest,
        age: Duration,
        lease: Duration,
    ) -> Result<KeyRefused, GateError> {
        if self.has(Leak::RefusesKeysWithoutALook) {
            return Ok(KeyRefused::Done { epoch: 1 });
        }
        let campaign = self.campaign(campaign);
        self.inner.refuse_key(campaign, key, age, lease).await
    }

    async fn settle(&self, campaign: CampaignId, ids: &[ParticipationId]) -> Result<(), GateError> {
        if self.has(Leak::NeverSettles) {
            return Ok(());
        }
        self.inner.settle(self.campaign(campaign), ids).await
    }

    async fn release(
        &self,
        campaign: CampaignId,
        epoch: u64,
        ids: &[ParticipationId],
    ) -> Result<u64, GateError> {
        let campaign = self.campaign(campaign);
        if self.has(Leak::KeepsThePlaceOfTheReleased) {
            self.inner.settle(campaign, ids).await?;
            return Ok(ids.len() as u64);
        }
        let epoch = if self.has(Leak::ReleasesOfAnyEpoch) {
            let state = self.inner.inspect(campaign).await?;
            state.map_or(epoch, |state| state.epoch)
        } else {
            epoch
        };
        let returned = self.inner.release(campaign, epoch, ids).await?;
        if self.has(Leak::ReleasesWithoutALease) {
            return Ok(returned.max(ids.len() as u64));
        }
        Ok(returned)
    }

    async fn give_back(
        &self,
        campaign: CampaignId,
        epoch: u64,
        returns: &[Return],
    ) -> Result<GivenBack, GateError> {
        let campaign = self.campaign(campaign);
        let mut returns = returns.to_vec();
        if self.has(Leak::GivesBackAgain) {
            for one in &mut returns {
                one.number = self.next() + (1 << 20);
            }
        }
        if self.has(Leak::KeepsThePlaceOfTheReturned) {
            for one in &mut returns {
                one.user = UserId(one.user.0 + (1 << 20));
            }
        }
        let state = self.inner.inspect(campaign).await?;
        let epoch = match state {
            Some(state) if self.has(Leak::GivesBackOfAnyEpoch) => state.epoch,
            _ => epoch,
        };
        self.inner.give_back(campaign, epoch, &returns).await
    }

    async fn configure(
        &self,
        campaign: CampaignId,
        settings: &Settings,
    ) -> Result<Configured, GateError> {
        if self.has(Leak::DropsSettings) {
            return Ok(Configured::Applied);
        }
        let settings = self.settings(settings);
        self.inner
            .configure(self.campaign(campaign), &settings)
            .await
    }

    async fn rebuild(
        &self,
        campaign: CampaignId,
        epoch: u64,
        settings: &Settings,
        seats: &[UserUnits],
        mark: Mark,
    ) -> Result<bool, GateError> {
        let epoch = match self.leak {
            Leak::RebuildsBackwards | Leak::MixesCampaigns => self.next(),
            _ => epoch,
        };
        let seats = match self.leak {
            Leak::RebuildsWithoutSeats => &[],
            _ => seats,
        };
        let settings = self.settings(settings);
        self.inner
            .rebuild(self.campaign(campaign), epoch, &settings, seats, mark)
            .await
    }

    async fn expired(
        &self,
        campaign: CampaignId,
        limit: usize,
    ) -> Result<Vec<HeldLease>, GateError> {
        if self.has(Leak::HidesExpiredLeases) {
            return Ok(Vec::new());
        }
        self.inner.expired(self.campaign(campaign), limit).await
    }

    async fn release_listed(
        &self,
        campaign: CampaignId,
        leases: &[HeldLease],
    ) -> Result<u64, GateError> {
        let campaign = self.campaign(campaign);
        if self.has(Leak::ReleasesByIdAlone) {
            let ids: Vec<ParticipationId> =
                leases.iter().map(|lease| lease.participation).collect();
            let epoch = leases.first().map_or(0, |lease| lease.epoch);
            return self.inner.release(campaign, epoch, &ids).await;
        }
        self.inner.release_listed(campaign, leases).await
    }

    fn owner(&self) -> &str {
        self.inner.owner()
    }

    async fn leases_of(
        &self,
        campaign: CampaignId,
        owners: &[String],
        before: u64,
        limit: usize,
    ) -> Result<Vec<HeldLease>, GateError> {
        let all = [self.owner().to_owned()];
        let owners = if self.has(Leak::MixesOwners) {
            &all
        } else {
            owners
        };
        let campaign = self.campaign(campaign);
        let leases = self.inner.leases_of(campaign, owners, before, limit);
        leases.await
    }

    async fn advance(
        &self,
        campaign: CampaignId,
        from: u64,
        to: u64,
        dead: &[String],
    ) -> Result<bool, GateError> {
        let campaign = self.campaign(campaign);
        let owner = [self.owner().to_owned()];
        let (from, dead) = match self.leak {
            Leak::AdvancesTheDead => (from, &[][..]),
            Leak::LeavesTheLivingBehind => (from, &owner[..]),
            Leak::AdvancesFromAnyEpoch => {
                let state = self.inner.inspect(campaign).await?;
                (state.map_or(from, |state| state.epoch), dead)
            }
            _ => (from, dead),
        };
        self.inner.advance(campaign, from, to, dead).await
    }

    async fn inspect(&self, campaign: CampaignId) -> Result<Option<GateState>, GateError> {
        self.inner.inspect(self.campaign(campaign)).await
    }

    async fn footprint(&self, campaign: CampaignId) -> Result<Footprint, GateError> {
        if self.has(Leak::KeepsWhatIsOver) {
            let footprint = self.inner.footprint(campaign).await?;
            return Ok(Footprint {
                expires_in: None,
                ..footprint
            });
        }
        self.inner.footprint(campaign).await
    }

    async fn ping(&self) -> Result<(), GateError> {
        self.inner.ping().await
    }
}

#[tokio::test]
async fn an_unmodified_gate_passes_every_check() {
    for (name, check) in CHECKS {
        let verdict = check(&Leaky::subject(Leak::Nothing)).await;
        assert_eq!(verdict, Ok(()), "{name}");
    }
}

/// Each fault, with the check that finds it.
const CASES: &[(Leak, &str)] = &[
    (
        Leak::OneOverTheStock,
        "exactly_the_stock_is_admitted_by_many_at_once",
    ),
    (Leak::ForgetsUsers, "duplicates_cost_nothing"),
    (
        Leak::ForgetsParticipations,
        "the_same_participation_gets_the_same_answer",
    ),
    (Leak::AdmitsAPart, "quantity_is_all_or_nothing"),
    (
        Leak::SkipsRanks,
        "ranks_have_no_gaps_whatever_is_refused_between_them",
    ),
    (
        Leak::IgnoresTheWindow,
        "nobody_is_admitted_outside_the_window",
    ),
    (
        Leak::NeverSettles,
        "a_release_after_a_settle_returns_nothing",
    ),
    (
        Leak::ReleasesWithoutALease,
        "a_second_release_returns_nothing",
    ),
    (
        Leak::ReleasesOfAnyEpoch,
        "a_release_that_comes_late_leaves_a_newer_lease",
    ),
    (
        Leak::KeepsThePlaceOfTheReleased,
        "a_release_returns_units_and_place",
    ),
    (
        Leak::HidesExpiredLeases,
        "leases_that_ran_out_are_listed_until_they_end",
    ),
    (
        Leak::TakesOldSettings,
        "settings_are_only_replaced_by_newer_ones",
    ),
    (Leak::GivesBackAgain, "a_return_counts_once"),
    (
        Leak::GivesBackOfAnyEpoch,
        "a_return_of_another_epoch_returns_nothing",
    ),
    (
        Leak::KeepsThePlaceOfTheReturned,
        "a_return_leaves_what_else_the_user_holds",
    ),
    (Leak::DropsSettings, "stock_is_raised_and_lowered_under_way"),
    (
        Leak::KeepsWhatIsOver,
        "a_campaign_that_is_over_leaves_the_gate",
    ),
    (
        Leak::RebuildsBackwards,
        "a_rebuild_only_moves_the_epoch_forward",
    ),
    (Leak::RebuildsWithoutSeats, "a_rebuild_ends_all_leases"),
    (
        Leak::AnswersBackwards,
        "many_entrants_in_one_call_are_answered_in_order",
    ),
    (Leak::MixesCampaigns, "campaigns_do_not_mix"),
    (
        Leak::ForgetsKeys,
        "a_key_with_a_lease_is_undecided_whatever_the_rules_say",
    ),
    (
        Leak::ForgetsThatKeysWereRefused,
        "an_admission_tells_how_long_ago_its_key_was_refused",
    ),
    (
        Leak::RefusesKeysWithoutALook,
        "a_no_is_said_unless_something_was_admitted_under_its_key_since",
    ),
    (Leak::MixesOwners, "leases_are_listed_by_owner"),
    (
        Leak::AdvancesTheDead,
        "the_leases_of_the_dead_stay_in_their_epoch",
    ),
    (Leak::LeavesTheLivingBehind, "an_advance_takes_leases_along"),
    (
        Leak::AdvancesFromAnyEpoch,
        "an_advance_is_refused_in_another_epoch",
    ),
    (
        Leak::ReleasesByIdAlone,
        "a_listed_lease_that_was_given_again_is_not_released",
    ),
];

#[tokio::test]
async fn every_broken_gate_fails_its_check() {
    for (leak, check) in CASES {
        let (_, check_of_it) = CHECKS.iter().find(|(name, _)| *name == *check).unwrap();
        let verdict = check_of_it(&Leaky::subject(*leak)).await;
        assert!(verdict.is_err(), "{leak:?} passed {check}");
    }
}
