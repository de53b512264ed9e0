//! How participation continued during the fault, according to the responses.

use std::time::Duration;

use crate::judge::Breach;
use crate::ledger::{Answer, Outcome};

/// Longest time without an accepted participation during the fault, and until each replica accepts the first. Shorter
/// than the fault, so that participation that waits for Kafka is found; long enough for a machine that is busy with
/// starting brokers.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Accepted participations before and during the fault; times are in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Continuity {
    /// Of each replica, from the begin of the fault; none: it accepted nothing.
    pub first_yes: [Option<f64>; 2],
    /// During the fault.
    pub yeses: usize,
    /// The longest time without one.
    pub pause: f64,
    pub before: Pace,
    pub during: Pace,
}

/// Acceptances of the campaign without end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    pub per_second: f64,
    /// Of 100 responses, 99 took no longer.
    pub slowest_ms: f64,
}

impl Continuity {
    /// Of a fault between two moments of the run.
    pub fn of(answers: &[Answer], endless: i64, (began, ended): (Duration, Duration)) -> Self {
        let is_yes = |answer: &&Answer| matches!(answer.outcome, Outcome::Yes(_));
        let yeses: Vec<&Answer> = answers.iter().filter(is_yes).collect();
        let within = |from: Duration, to: Duration| {
            let yeses = yeses.iter().copied();
            let yeses = yeses.filter(|yes| from <= yes.at && yes.at < to);
            yeses.collect::<Vec<&Answer>>()
        };
        let during = within(began, ended);
        let first = |replica: usize| {
            let mut of_replica = during.iter().filter(|yes| yes.replica == replica);
            let first = of_replica.next();
            first.map(|yes| yes.at.saturating_sub(began).as_secs_f64())
        };
        let start = yeses.first().map_or(began, |yes| yes.at);
        Self {
            first_yes: [first(0), first(1)],
            yeses: during.len(),
            pause: longest_pause(&during, (began, ended)).as_secs_f64(),
            before: pace(&within(start, began), endless, began.saturating_sub(start)),
            during: pace(&during, endless, ended.saturating_sub(began)),
        }
    }

    /// Participation must go on while Kafka is away.
    pub fn breaches(&self) -> Vec<Breach> {
        let mut breaches = Vec::new();
        let limit = PAUSE_MAX.as_secs_f64();
        for (nth, first) in self.first_yes.iter().enumerate() {
            if first.is_none_or(|seconds| seconds > limit) {
                let what = format!("replica {nth} said yes {first:?} s into the fault");
                breaches.push(Breach::new("continuity", what));
            }
        }
        if self.pause > limit {
            let what = format!("nobody got a yes for {:.1} s of the fault", self.pause);
            breaches.push(Breach::new("continuity", what));
        }
        breaches
    }
}

fn longest_pause(yeses: &[&Answer], (began, ended): (Duration, Duration)) -> Duration {
    let mut moments: Vec<Duration> = yeses.iter().map(|yes| yes.at).collect();
    moments.extend([began, ended]);
    moments.sort_unstable();
    let pauses = moments
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]));
    pauses.max().unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn pace(yeses: &[&Answer], endless: i64, time: Duration) -> Pace {
    let of_endless = yeses.iter().filter(|yes| yes.request.campaign == endless);
    let mut took: Vec<Duration> = of_endless
        .map(|yes| yes.at.saturating_sub(yes.sent))
        .collect();
    took.sort_unstable();
    let slowest = took.get((took.len() * 99).div_ceil(100).saturating_sub(1));
    Pace {
        per_second: took.len() as f64 / time.as_secs_f64().max(0.001),
        slowest_ms: slowest.map_or(0.0, |took| took.as_secs_f64() * 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ledger::{ParticipationRequest, Path, Phase, Yes};

    fn yes(replica: usize, at_ms: u64) -> Answer {
        let (campaign, user, quantity) = (7, 1, 1);
        Answer {
            sent: Duration::from_millis(at_ms - 10),
            at: Duration::from_millis(at_ms),
            phase: Phase::Traffic,
            replica,
            request: ParticipationRequest {
                campaign,
                user,
                quantity,
                key: None,
                path: Path::Grouped,
            },
            outcome: Outcome::Yes(Yes {
                participation: Uuid::nil(),
                campaign,
                user,
                quantity,
                rank: 1,
            }),
        }
    }

    fn seconds(from: u64, to: u64) -> (Duration, Duration) {
        (Duration::from_secs(from), Duration::from_secs(to))
    }

    #[test]
    fn an_acceptance_each_second_by_each_replica_is_continuous() {
        let answers: Vec<Answer> = (1..40).map(|nth| yes(nth % 2, nth as u64 * 500)).collect();
        let found = Continuity::of(&answers, 7, seconds(10, 20));
        assert_eq!(found.breaches(), []);
        assert_eq!(found.yeses, 20);
        assert!((found.pause - 0.5).abs() < 0.01, "{found:?}");
        assert!((found.before.per_second - 2.0).abs() < 0.01, "{found:?}");
        assert!((found.during.per_second - 2.0).abs() < 0.01, "{found:?}");
        assert!((found.during.slowest_ms - 10.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn a_replica_without_an_acceptance_and_a_long_pause_are_found() {
        let answers = [yes(0, 9_000), yes(0, 11_000), yes(1, 9_500)];
        let found = Continuity::of(&answers, 7, seconds(10, 25));
        let words: Vec<String> = found.breaches().into_iter().map(|one| one.what).collect();
        assert_eq!(
            words,
            [
                "replica 1 said yes None s into the fault",
                "nobody got a yes for 14.0 s of the fault",
            ]
        );
    }
}
