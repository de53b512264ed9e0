//! The gate as Lua scripts: builds their keys and arguments, and parses their replies. The rules of admission are in
//! `lua/` and nowhere else; the engines only run them.

mod admit;
mod clock_steps;
mod keys;
mod outage;
mod rebuild;
mod server;
mod settings;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use self::admit::micros;
use self::clock_steps::ClockSteps;
use self::keys::STATE;
use self::settings::{settings, settings_args};
use super::answers::held_lease;
use super::breaker::{Breaker, OnFailure};
use super::in_process::InProcessEngine;
use super::redis::{RedisConfig, RedisEngine};
use super::reply::{Reply, instant, unknown};
use super::script::Script;
use super::{
    Admission, Configured, EXACT_MAX, Entrant, Footprint, Gate, GateError, GateState, GivenBack,
    HeldLease, KeyDigest, KeyRefused, Mark, Return, Settings, StartError, UserUnits,
};
use crate::domain::{CampaignId, ParticipationId};
use crate::runtime::clock::{Clock, TimeReading};

/// Entrants, users or leases in one script call. This bounds how long Redis is blocked, and is far below the 8,000
/// values that Lua can unpack at once.
const ITEMS_PER_CALL_MAX: usize = 1_000;

/// Default time after which the keys of an ended campaign expire.
pub const OVER_RETENTION: Duration = Duration::from_secs(900);

/// Entries of a key that are sampled to estimate its size.
const MEMORY_SAMPLES: u32 = 100;

/// What runs the scripts.
enum Engine {
    Redis(RedisEngine),
    InProcess(InProcessEngine),
}

/// The gate, in Redis or in this process.
pub struct ScriptGate {
    engine: Engine,
    breaker: Option<Breaker>,
    prefix: String,
    /// Names the leases of this process. Random, because a restarted process holds none of its predecessor's leases.
    owner: String,
    /// Length of the longest lease that this process has asked for, in microseconds.
    longest_lease_us: AtomicU64,
    clock_steps: ClockSteps,
    over_retention: Duration,
}

impl ScriptGate {
    /// A gate in Redis. Its keys are `{prefix}:{campaign:ID}:…`. Fails at once if Redis is unreachable; later it
    /// reconnects by itself.
    pub async fn redis(config: &RedisConfig, prefix: &str) -> Result<Self, StartError> {
        let prefix = checked(prefix)?;
        let engine = Engine::Redis(RedisEngine::connect(config).await?);
        Ok(Self::new(engine, prefix))
    }

    /// A gate in this process, with the given clock. Its state ends with the process.
    pub fn in_process(clock: Clock, prefix: &str) -> Result<Self, StartError> {
        let prefix = checked(prefix)?;
        let engine = Engine::InProcess(InProcessEngine::new(clock).map_err(StartError::Scripts)?);
        Ok(Self::new(engine, prefix))
    }

    fn new(engine: Engine, prefix: String) -> Self {
        Self {
            engine,
            breaker: None,
            prefix,
            owner: format!("{:016x}", rand::random::<u64>()),
            longest_lease_us: AtomicU64::new(0),
            clock_steps: ClockSteps::default(),
            over_retention: OVER_RETENTION,
        }
    }

    /// The same, with another expiry of the keys of ended campaigns. It must be longer than a lease.
    #[must_use]
    pub const fn with_over_retention(mut self, retention: Duration) -> Self {
        self.over_retention = retention;
        self
    }

    /// Runs a script. Every script of the gate runs here, behind the breaker.
    pub(super) async fn run(
        &self,
        script: Script,
        keys: &[String],
        args: &[String],
    ) -> Result<Reply, GateError> {
        let on_failure = if script.opens_breaker() {
            OnFailure::Open
        } else {
            OnFailure::Ignore
        };
        self.behind_breaker(on_failure, async {
            match &self.engine {
                Engine::Redis(redis) => redis.run(script, keys, args).await,
                Engine::InProcess(in_process) => in_process.run(script, keys, args),
            }
        })
        .await
    }

    /// Releases leases of an epoch; each word names one as the script expects it.
    async fn release_words(
        &self,
        campaign: CampaignId,
        epoch: u64,
        words: &[String],
    ) -> Result<u64, GateError> {
        let keys = self.keys(campaign, ["state", "users", "leases"]);
        let mut returned = 0;
        for chunk in words.chunks(ITEMS_PER_CALL_MAX) {
            let mut args = vec![epoch.to_string()];
            args.extend_from_slice(chunk);
            let reply = self.run(Script::Release, &keys, &args).await?;
            returned += reply.count()?;
        }
        Ok(returned)
    }

    async fn behind_breaker<T>(
        &self,
        on_failure: OnFailure,
        call: impl Future<Output = Result<T, GateError>>,
    ) -> Result<T, GateError> {
        match &self.breaker {
            Some(breaker) => breaker.call(on_failure, call).await,
            None => call.await,
        }
    }
}

#[async_trait]
impl Gate for ScriptGate {
    /// More than 1,000 entrants need several calls; each entrant is still all or nothing.
    async fn admit(
        &self,
        campaign: CampaignId,
        entrants: &[Entrant],
        lease: Duration,
    ) -> Result<Vec<Admission>, GateError> {
        let mut answers = Vec::with_capacity(entrants.len());
        for chunk in entrants.chunks(ITEMS_PER_CALL_MAX) {
            answers.extend(self.admit_some(campaign, chunk, lease).await?);
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
        let [state, leases] = self.keys(campaign, ["state", "leases"]);
        let keys = [state, leases, self.idempotency_key(campaign, key)];
        let args = [micros(age).to_string(), micros(lease).to_string()];
        let reply = self.run(Script::RefuseKey, &keys, &args).await?;
        let mut reply = reply.fields()?;
        match reply.text()?.as_str() {
            "REFUSED" => Ok(KeyRefused::Done {
                epoch: reply.count()?,
            }),
            "UNDECIDED" => Ok(KeyRefused::Undecided),
            "MISSING" => Ok(KeyRefused::Missing),
            code => Err(unknown(code)),
        }
    }

    async fn settle(&self, campaign: CampaignId, ids: &[ParticipationId]) -> Result<(), GateError> {
        let keys = self.keys(campaign, ["leases"]);
        for chunk in ids.chunks(ITEMS_PER_CALL_MAX) {
            self.run(Script::Settle, &keys, &words(chunk))
                .await?
                .count()?;
        }
        Ok(())
    }

    async fn release(
        &self,
        campaign: CampaignId,
        epoch: u64,
        ids: &[ParticipationId],
    ) -> Result<u64, GateError> {
        self.release_words(campaign, epoch, &words(ids)).await
    }

    async fn release_listed(
        &self,
        campaign: CampaignId,
        leases: &[HeldLease],
    ) -> Result<u64, GateError> {
        let mut by_epoch: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for lease in leases {
            let ends_us = lease.ends_at.timestamp_micros();
            let words = by_epoch.entry(lease.epoch).or_default();
            words.push(format!("{}:{ends_us}", lease.participation));
        }
        let mut returned = 0;
        for (epoch, words) in by_epoch {
            returned += self.release_words(campaign, epoch, &words).await?;
        }
        Ok(returned)
    }

    async fn give_back(
        &self,
        campaign: CampaignId,
        epoch: u64,
        returns: &[Return],
    ) -> Result<GivenBack, GateError> {
        let keys = self.keys(campaign, STATE);
        let mut units = 0;
        for chunk in returns.chunks(ITEMS_PER_CALL_MAX) {
            let mut args = vec![epoch.to_string()];
            for one in chunk {
                args.push(one.number.to_string());
                args.push(one.participation.to_string());
                args.push(one.user.to_string());
                args.push(one.quantity.to_string());
            }
            match self.run(Script::GiveBack, &keys, &args).await? {
                Reply::Text(code) if code == "BEHIND" => return Ok(GivenBack::Behind),
                reply => units += reply.count()?,
            }
        }
        Ok(GivenBack::Units(units))
    }

    async fn configure(
        &self,
        campaign: CampaignId,
        settings: &Settings,
    ) -> Result<Configured, GateError> {
        let keys = self.keys(campaign, STATE);
        let mut args = settings_args(settings).to_vec();
        args.push(self.over_retention.as_millis().to_string());
        let reply = self.run(Script::Configure, &keys, &args).await?;
        match reply.text()?.as_str() {
            "APPLIED" => Ok(Configured::Applied),
            "STALE" => Ok(Configured::Stale),
            "MISSING" => Ok(Configured::Missing),
            code => Err(unknown(code)),
        }
    }

    /// Users are loaded in chunks next to the current state, which admits until the swap.
    async fn rebuild(
        &self,
        campaign: CampaignId,
        epoch: u64,
        settings: &Settings,
        holders: &[UserUnits],
        mark: Mark,
    ) -> Result<bool, GateError> {
        self.replace_state(campaign, (epoch, settings), holders, mark)
            .await
    }

    /// At most 1,000 at a time, whatever the limit. None for the length of a lease after the server's clock was set
    /// forward.
    async fn expired(
        &self,
        campaign: CampaignId,
        limit: usize,
    ) -> Result<Vec<HeldLease>, GateError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let keys = self.keys(campaign, ["leases"]);
        let longest_us = self.longest_lease_us.load(Ordering::Relaxed);
        let limit = limit.min(ITEMS_PER_CALL_MAX).to_string();
        let args = [limit, self.owner.clone(), longest_us.to_string()];
        let asked = Instant::now();
        let replies = self.run(Script::Expired, &keys, &args).await?.list()?;
        let mut replies = replies.into_iter();
        let answered = Instant::now();
        let time_us = replies.next().ok_or_else(|| unknown("nothing"))?.count()?;
        let time = instant(time_us)?;
        let reading = TimeReading {
            asked,
            time,
            answered,
        };
        let longest = Duration::from_micros(longest_us);
        if self.is_shared() && self.clock_steps.is_ahead(campaign, reading, longest) {
            return Ok(Vec::new());
        }
        replies.map(held_lease).collect()
    }

    fn owner(&self) -> &str {
        &self.owner
    }

    async fn leases_of(
        &self,
        campaign: CampaignId,
        owners: &[String],
        before: u64,
        limit: usize,
    ) -> Result<Vec<HeldLease>, GateError> {
        let keys = self.keys(campaign, ["state", "leases"]);
        let (before, limit) = (before.min(EXACT_MAX), limit.min(ITEMS_PER_CALL_MAX));
        let mut args = vec![before.to_string(), limit.to_string()];
        args.extend_from_slice(owners);
        let replies = self.run(Script::LeasesOf, &keys, &args).await?.list()?;
        replies.into_iter().map(held_lease).collect()
    }

    async fn advance(
        &self,
        campaign: CampaignId,
        from: u64,
        to: u64,
        dead: &[String],
    ) -> Result<bool, GateError> {
        let keys = self.keys(campaign, ["state", "leases"]);
        let mut args = vec![from.to_string(), to.to_string()];
        args.extend_from_slice(dead);
        let reply = self.run(Script::Advance, &keys, &args).await?;
        match reply.text()?.as_str() {
            "ADVANCED" => Ok(true),
            "STALE" => Ok(false),
            code => Err(unknown(code)),
        }
    }

    async fn inspect(&self, campaign: CampaignId) -> Result<Option<GateState>, GateError> {
        let keys = self.keys(campaign, STATE);
        let mut fields = self.run(Script::Inspect, &keys, &[]).await?.fields()?;
        match fields.text()?.as_str() {
            "MISSING" => Ok(None),
            "STATE" => Ok(Some(GateState {
                epoch: fields.count()?,
                units: fields.count()?,
                last_rank: fields.count()?,
                remaining: fields.optional_count()?,
                leases: fields.count()?,
                users: fields.count()?,
                returns: fields.count()?,
                settings: settings(&mut fields)?,
            })),
            code => Err(unknown(code)),
        }
    }

    async fn footprint(&self, campaign: CampaignId) -> Result<Footprint, GateError> {
        let keys = self.keys(campaign, STATE);
        let args = [MEMORY_SAMPLES.to_string()];
        let mut fields = self.run(Script::Footprint, &keys, &args).await?.fields()?;
        Ok(Footprint {
            users: fields.count()?,
            leases: fields.count()?,
            returns: fields.count()?,
            bytes: fields.count()?,
            expires_in: fields.optional_count()?.map(Duration::from_millis),
        })
    }

    /// Calls the engine even while the breaker is open.
    async fn ping(&self) -> Result<(), GateError> {
        match &self.engine {
            Engine::Redis(redis) => redis.ping(&format!("{}:ping", self.prefix)).await,
            Engine::InProcess(in_process) => in_process.ping(),
        }
    }
}

fn checked(prefix: &str) -> Result<String, StartError> {
    if prefix.contains(['{', '}']) {
        return Err(StartError::Prefix(prefix.to_owned()));
    }
    Ok(prefix.to_owned())
}

fn words(ids: &[ParticipationId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
