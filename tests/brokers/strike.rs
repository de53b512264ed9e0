//! Performs the fault of a run, under traffic.

use std::time::{Duration, Instant};

use firstcome::domain::Topic;
use sea_orm::sqlx::MySqlConnection;

use crate::cluster::View;
use crate::fault::Fault;
use crate::judge::Breach;
use crate::outbox::{Outbox, Watch};
use crate::proxy::Mode;
use crate::sale::campaigns::TRAFFIC_PATIENCE;
use crate::world::World;

/// Published events that the broker with the old records does not have.
const TAIL: i64 = 25;
/// The step of a broker's clock.
const CLOCK_STEP_SECONDS: i64 = 3_600;
/// Partitions of the topic of participations after some were added to the first three.
pub const PARTITIONS: (usize, usize) = (3, 7);

/// What happened until all brokers were back.
pub struct Struck {
    /// The begin and the end of the fault, by the clock of the responses.
    pub window: (Duration, Duration),
    /// From here on everything works.
    pub healed: Instant,
    /// Number of effects of the fault; the unit depends on the fault.
    pub bites: u64,
    /// Published events at the begin and at the end of the outage itself.
    pub published: [i64; 2],
    /// The highest numbers of the outbox meanwhile.
    pub highest: Outbox,
}

impl Struck {
    pub fn breaches(&self, fault: Fault) -> Vec<Breach> {
        let mut breaches = Vec::new();
        let mut found = |promise: &str, what: String| breaches.push(Breach::new(promise, what));
        let [before, after] = self.published;
        if fault.publishes() && after <= before {
            found(
                "I4",
                format!("nothing was published in the outage: {before}"),
            );
        }
        if self.highest.dead > 0 {
            found("dead", format!("{} dead letters", self.highest.dead));
        }
        breaches
    }
}

/// Performs the fault of this run.
pub async fn strike(world: &World) -> Struck {
    let has_traffic = world.sale.reaches(world.plan.yes_before).await;
    assert!(has_traffic, "no traffic after {TRAFFIC_PATIENCE:?}");
    prepare(world).await;
    let watch = Watch::start(world.session().await);
    let mut outage = Outage {
        world,
        topic: world.topic(),
        mysql: world.session().await,
        published: [0; 2],
        waiting: 0,
        over: None,
    };
    let start = world.sale.began.elapsed();
    let bites = outage.perform().await;
    let (end, healed) = outage.over.expect("each fault ends");
    Struck {
        window: (start, end),
        healed,
        bites,
        published: outage.published,
        highest: watch.end().await,
    }
}

/// Sets what the topics need for the fault.
async fn prepare(world: &World) {
    let (name, value) = match world.plan.fault {
        Fault::TooFewInSync => ("min.insync.replicas", "3"),
        Fault::UncleanElection => ("unclean.leader.election.enable", "true"),
        // Longer than the step: with less, the broker would delete records, as it should.
        Fault::ClockForward | Fault::ClockBack => ("retention.ms", "7200000"),
        _ => return,
    };
    let topics = Topic::names(&world.prefix);
    world.cluster.configure(&topics, name, value).await;
}

struct Outage<'a> {
    world: &'a World,
    topic: String,
    mysql: MySqlConnection,
    published: [i64; 2],
    waiting: i64,
    /// The end of the fault: since the run began, and the moment itself.
    over: Option<(Duration, Instant)>,
}

impl Outage<'_> {
    /// Returns the number of effects.
    async fn perform(&mut self) -> u64 {
        let victim = self.world.plan.victim;
        let others = [(victim + 1) % 3, (victim + 2) % 3];
        match self.world.plan.fault {
            Fault::LostAnswers => self.proxies(Mode::LoseReplies).await,
            Fault::Hanging => self.proxies(Mode::Swallow).await,
            Fault::Paused => self.paused(victim).await,
            Fault::OneKilled => self.one_killed(victim).await,
            Fault::TooFewInSync => {
                self.one_killed(victim).await;
                self.waiting.unsigned_abs()
            }
            Fault::LeadersMove => self.leaders_move().await,
            Fault::QuorumLost => self.killed(&others).await,
            Fault::AllKilled => self.killed(&[0, 1, 2]).await,
            Fault::PartitionsAdded => self.partitions_added(victim).await,
            Fault::UncleanElection => self.unclean_election(victim, others).await,
            Fault::ClockForward => self.clock_set(victim, CLOCK_STEP_SECONDS).await,
            Fault::ClockBack => self.clock_set(victim, -CLOCK_STEP_SECONDS).await,
        }
    }

    /// The fault lasts.
    async fn lasts(&mut self) {
        let before = Outbox::read(&mut self.mysql).await;
        tokio::time::sleep(self.world.plan.outage).await;
        let after = Outbox::read(&mut self.mysql).await;
        self.published = [before.published, after.published];
        self.waiting = after.waiting;
    }

    /// The fault is over: the brokers run and answer.
    fn is_over(&mut self) {
        self.over = Some((self.world.sale.began.elapsed(), Instant::now()));
    }

    async fn proxies(&mut self, mode: Mode) -> u64 {
        let cluster = &self.world.cluster;
        let before = cluster.harm();
        cluster.set_proxies(mode);
        self.lasts().await;
        cluster.set_proxies(Mode::Pass);
        self.is_over();
        cluster.harm() - before
    }

    /// Returns the number of partitions that another broker leads now.
    async fn paused(&mut self, victim: usize) -> u64 {
        let cluster = &self.world.cluster;
        let id = cluster.id(victim);
        let led = self.led_by(id).await;
        cluster.pause(victim).await;
        let is_elected = |view: &View| view.all_in_sync(2) && view.all_without(id);
        cluster.until(&self.topic, "others lead", is_elected).await;
        self.lasts().await;
        cluster.resume(victim).await;
        self.is_over();
        cluster.until_whole(&self.topic).await;
        led
    }

    /// Returns the number of partitions without the killed replica.
    async fn one_killed(&mut self, victim: usize) -> u64 {
        let cluster = &self.world.cluster;
        let id = cluster.id(victim);
        cluster.kill(&[victim]).await;
        let is_shrunk = |view: &View| view.all_in_sync(2) && view.all_without(id);
        let shrunk = cluster.until(&self.topic, "the in-sync replicas shrink", is_shrunk);
        let shrunk = shrunk.await;
        self.lasts().await;
        cluster.start(&[victim]).await;
        self.is_over();
        cluster.until_whole(&self.topic).await;
        shrunk.partitions.len() as u64
    }

    /// Returns the number of events that waited at the end.
    async fn killed(&mut self, which: &[usize]) -> u64 {
        let cluster = &self.world.cluster;
        cluster.kill(which).await;
        self.lasts().await;
        cluster.start(which).await;
        self.is_over();
        cluster.until_whole(&self.topic).await;
        self.waiting.unsigned_abs()
    }

    /// The broker shows the new time, or this fails. Returns the number of partitions that it leads.
    async fn clock_set(&mut self, victim: usize, offset_seconds: i64) -> u64 {
        let cluster = &self.world.cluster;
        let led = self.led_by(cluster.id(victim)).await;
        cluster.set_clock(victim, offset_seconds).await;
        self.lasts().await;
        cluster.set_clock(victim, 0).await;
        self.is_over();
        cluster.until_whole(&self.topic).await;
        led
    }

    /// Returns how often another broker became a leader.
    async fn leaders_move(&mut self) -> u64 {
        let before = Outbox::read(&mut self.mysql).await;
        let (cluster, topic) = (&self.world.cluster, &self.topic);
        let mut moves = 0;
        for nth in 0..3 {
            let id = cluster.id(nth);
            moves += self.led_by(id).await;
            cluster.stop(nth).await;
            let is_moved = |view: &View| !view.leaders().contains(&id) && view.all_in_sync(2);
            cluster.until(topic, "others lead", is_moved).await;
            cluster.start(&[nth]).await;
            cluster.until_whole(topic).await;
        }
        self.is_over();
        let after = Outbox::read(&mut self.mysql).await;
        self.published = [before.published, after.published];
        moves
    }

    /// Number of partitions with this leader.
    async fn led_by(&self, id: i32) -> u64 {
        let cluster = &self.world.cluster;
        let any = |view: &View| view.all_in_sync(3);
        let view = cluster.until(&self.topic, "it has leaders", any).await;
        let led = view.leaders().into_iter().filter(|leader| *leader == id);
        led.count() as u64
    }

    async fn partitions_added(&mut self, victim: usize) -> u64 {
        let (cluster, topic) = (&self.world.cluster, &self.topic);
        cluster.add_partitions(topic, PARTITIONS.1).await;
        let is_grown = |view: &View| view.partitions.len() == PARTITIONS.1 && view.all_in_sync(3);
        let grown = cluster.until(topic, "it has grown", is_grown).await;
        // Producers read the number of partitions again when a leader has moved, and else after five minutes.
        let id = cluster.id(victim);
        cluster.stop(victim).await;
        let is_moved = |view: &View| !view.leaders().contains(&id) && view.all_in_sync(2);
        cluster.until(topic, "others lead", is_moved).await;
        self.lasts().await;
        cluster.start(&[victim]).await;
        self.is_over();
        cluster.until_whole(&self.topic).await;
        (grown.partitions.len() - PARTITIONS.0) as u64
    }

    /// One broker is killed. The other two acknowledge more records, and are killed as well. Then the first returns,
    /// and of another one only the controller, so that there is a quorum: the first is elected although it was not in
    /// sync. When the others return they drop what it does not have. Returns the number of records at risk.
    async fn unclean_election(&mut self, victim: usize, [witness, last]: [usize; 2]) -> u64 {
        let (cluster, topic) = (&self.world.cluster, self.topic.clone());
        let id = cluster.id(victim);
        cluster.kill(&[victim]).await;
        let is_shrunk = |view: &View| view.all_in_sync(2) && view.all_without(id);
        cluster.until(&topic, "it is out of sync", is_shrunk).await;
        let before = Outbox::read(&mut self.mysql).await;
        let after = self.until_published(before.published + TAIL).await;
        cluster.kill(&[witness, last]).await;
        cluster.make_controller(witness).await;
        cluster.start(&[victim, witness]).await;
        let is_elected = |view: &View| view.leaders().iter().all(|leader| *leader == id);
        let elected = cluster.until(&topic, "it leads", is_elected).await;
        assert_eq!(elected.leaders().len(), PARTITIONS.0);
        cluster.kill(&[witness]).await;
        cluster.make_broker(witness).await;
        cluster.start(&[witness, last]).await;
        self.is_over();
        cluster.until_whole(&topic).await;
        (after.published - before.published).unsigned_abs()
    }

    async fn until_published(&mut self, count: i64) -> Outbox {
        let began = Instant::now();
        loop {
            let now = Outbox::read(&mut self.mysql).await;
            if now.published >= count {
                return now;
            }
            let waited = began.elapsed();
            assert!(waited < TRAFFIC_PATIENCE, "{now:?} after {waited:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
