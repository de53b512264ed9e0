//! Liveness and readiness.

use std::sync::Arc;

use chrono::TimeDelta;
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_json::json;

use super::campaigns::Plain;
use super::json::Json;
use super::problem::{Failure, Problem, documented};
use super::{App, Section};
use crate::operate::clock_skew::is_off;
use crate::operate::health::{Condition, PartHealth};

documented! {
    /// Problems of readiness: 503 is one of those any operation has.
    Readiness: [] {}
}

/// The state of the process.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Health", skip_serializing_if_is_none)]
struct HealthView {
    /// `up`; `ready`, or `degraded` while a part is away that the work goes on without.
    status: String,
    /// The parts, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<PartView>>,
    /// The clock of the machine, where the parts were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<ClockView>,
}

/// The clock of the machine against the database's. The service goes by the database's.
#[derive(Clone, Debug, PartialEq, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename = "MachineClock", rename_all = "camelCase")]
pub(super) struct ClockView {
    /// `in_step`; `off` where the two differ by more than a second; `unknown` until the database has told
    /// its time.
    status: String,
    /// Seconds by which the machine's clock is ahead, negative where it is behind.
    ahead_seconds: f64,
}

impl ClockView {
    /// Of a clock that is ahead by so much, if that is known.
    pub(super) fn of(ahead: Option<TimeDelta>) -> Self {
        let status = match ahead {
            None => "unknown",
            Some(ahead) if is_off(ahead) => "off",
            Some(_) => "in_step",
        };
        Self {
            status: status.to_owned(),
            ahead_seconds: ahead.unwrap_or_default().as_seconds_f64(),
        }
    }
}

/// The state of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
#[oai(rename = "Part", skip_serializing_if_is_none)]
pub(super) struct PartView {
    /// `store`, `gate`, `broker` or `rewards`.
    name: String,
    /// `up` or `down`.
    status: String,
    /// Why it is down, where that is known: `read-only: ` and the settings of the database that say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&PartHealth> for PartView {
    fn from(part: &PartHealth) -> Self {
        Self {
            name: part.name.to_owned(),
            status: if part.error.is_none() { "up" } else { "down" }.to_owned(),
            reason: part.reason.clone(),
        }
    }
}

/// How much a probe wants to know.
#[derive(Clone, Copy)]
enum Detail {
    Summary,
    Parts,
}

/// Liveness and readiness.
pub struct HealthApi;

#[OpenApi(tag = "Section::Operations")]
impl HealthApi {
    /// Whether the process lives.
    ///
    /// Asks nothing of the parts: restarting this process would not bring them back.
    #[allow(clippy::unused_async, reason = "the framework awaits every operation")]
    #[oai(path = "/livez", method = "get", operation_id = "livez")]
    async fn livez(&self) -> Result<Json<HealthView>, Failure<Plain>> {
        Ok(Json(HealthView {
            status: "up".to_owned(),
            parts: None,
            clock: None,
        }))
    }

    /// Whether the process can do its work.
    ///
    /// 503 (`NOT_READY`) names the parts that do not answer, if one of them is needed to make
    /// participations; a database that takes no writes is such a part, and `reason` says why. Without the broker their events wait; without the gate the database admits, unless
    /// it is configured otherwise. That is `degraded`, and answered with 200: taking all replicas out of
    /// service at once would help nobody.
    #[oai(path = "/readyz", method = "get", operation_id = "readyz")]
    async fn readyz(
        &self,
        app: Data<&Arc<App>>,
        /// Names the parts also when all is well, and says whether the machine's clock is in step with the
        /// database's.
        verbose: Query<Option<String>>,
    ) -> Result<Json<HealthView>, Failure<Readiness>> {
        let parts = app.health.check().await;
        for part in &parts {
            if let Some(error) = &part.error {
                tracing::warn!(part = part.name, error, "check a part");
            }
        }
        let detail = match verbose.0 {
            Some(_) => Detail::Parts,
            None => Detail::Summary,
        };
        let view = readiness(&parts, detail)?;
        let clock = view
            .parts
            .is_some()
            .then(|| ClockView::of(app.health.clock_ahead()));
        Ok(Json(HealthView { clock, ..view }))
    }
}

/// Ready as long as participations can be made. What is wrong with a part goes to the log, not to the
/// client.
fn readiness(parts: &[PartHealth], detail: Detail) -> Result<HealthView, Problem> {
    let views: Vec<PartView> = parts.iter().map(PartView::from).collect();
    let status = match Condition::of(parts) {
        Condition::Ready => "ready",
        Condition::Degraded => "degraded",
        Condition::NotReady => {
            let problem = Problem {
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "Not ready",
                ..Problem::unavailable("NOT_READY", "A part the service needs does not answer.")
            };
            return Err(problem.with_member("parts", json!(views)));
        }
    };
    Ok(HealthView {
        status: status.to_owned(),
        parts: matches!(detail, Detail::Parts).then_some(views),
        clock: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::health::Need;

    fn part(name: &'static str, need: Need, error: Option<&str>) -> PartHealth {
        PartHealth {
            name,
            need,
            error: error.map(str::to_owned),
            reason: None,
        }
    }

    #[test]
    fn a_part_that_is_needed_and_away_is_named_without_saying_why() {
        let parts = [
            part("broker", Need::Spared, Some("nobody there")),
            part("gate", Need::Needed, Some("refused by 10.0.0.7")),
            part("store", Need::Needed, None),
        ];
        let problem = readiness(&parts, Detail::Summary).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code), (503, "NOT_READY"));
        let members = format!("{:?}", problem.members);
        assert!(members.contains("gate") && !members.contains("10.0.0.7"));
    }

    #[test]
    fn without_a_part_that_is_spared_the_work_goes_on() {
        let parts = [
            part("store", Need::Needed, None),
            part("broker", Need::Spared, Some("nobody there")),
        ];
        let view = readiness(&parts, Detail::Parts).unwrap();
        assert_eq!(view.status, "degraded");
        let broker = view.parts.unwrap().pop().unwrap();
        assert_eq!(
            (broker.name.as_str(), broker.status.as_str()),
            ("broker", "down")
        );
    }

    #[test]
    fn parts_are_listed_when_asked_for() {
        let parts = [part("store", Need::Needed, None)];
        let summary = readiness(&parts, Detail::Summary).unwrap();
        assert_eq!((summary.status.as_str(), summary.parts), ("ready", None));
        let listed = readiness(&parts, Detail::Parts).unwrap().parts;
        assert_eq!(listed.unwrap().len(), 1);
    }
}
