//! Liveness and readiness.

use chrono::TimeDelta;
use serde_json::json;

use super::campaigns::Plain;
use super::views::PartView;
use crate::http::operation::{
    AppRef, Failure, Json, OpenApi, Problem, Query, Section, documented, kind, view,
};
use crate::operate::clock_skew::is_off;
use crate::operate::health::{Condition, PartHealth};

documented! {
    Readiness: [READINESS] {}
}

view! {
    /// The health of the process.
    struct HealthView as "Health", skip_serializing_if_is_none {
        /// `up`; `ready`, or `degraded` while a part that is not required is unavailable.
        status: String,
        /// The parts, if requested.
        #[serde(skip_serializing_if = "Option::is_none")]
        parts: Option<Vec<PartView>>,
        /// The clock of the machine, if the parts are requested.
        #[serde(skip_serializing_if = "Option::is_none")]
        clock: Option<ClockView>,
    }
}

view! {
    /// The difference between the clock of the machine and that of the database, which the service uses.
    #[derive(Clone, PartialEq)]
    pub(super) struct ClockView as "MachineClock" {
        /// `in_step`; `off` if the two differ by more than a second; `unknown` until the time of the database is known.
        status: String,
        /// Seconds by which the machine's clock is ahead; negative if it is behind.
        ahead_seconds: f64,
    }
}

impl ClockView {
    /// For a clock that is ahead by this time, if that is known.
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

/// The detail of a probe.
#[derive(Clone, Copy)]
enum Detail {
    Summary,
    Parts,
}

/// Liveness and readiness.
pub struct HealthApi;

#[OpenApi(tag = "Section::Health")]
impl HealthApi {
    /// Check liveness.
    ///
    /// Does not check the parts: a restart of this process would not repair them.
    #[allow(clippy::unused_async, reason = "the framework awaits every operation")]
    #[oai(path = "/livez", method = "get", operation_id = "checkLiveness")]
    async fn livez(&self) -> Result<Json<HealthView>, Failure<Plain>> {
        Ok(Json(HealthView {
            status: "up".to_owned(),
            parts: None,
            clock: None,
        }))
    }

    /// Check readiness.
    ///
    /// 503 (`NOT_READY`) names the parts that do not answer, if one of them is required for participations; a read-only
    /// database is such a part, and `reason` has the cause. Without the broker, events wait; without the gate, the
    /// database admits, unless configured otherwise. That is `degraded`, with 200: to remove all replicas at once would
    /// not help.
    #[oai(path = "/readyz", method = "get", operation_id = "checkReadiness")]
    async fn readyz(
        &self,
        app: AppRef<'_>,
        /// Includes the parts also if all are up, and the difference between the clocks.
        verbose: Query<Option<String>>,
    ) -> Result<Json<HealthView>, Failure<Readiness>> {
        let parts = app.health.check().await;
        for part in &parts {
            if let Some(error) = &part.error {
                tracing::warn!(part = part.name, error, "a part does not answer");
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

/// Ready as long as participations are possible. The cause is logged and not sent to the client.
fn readiness(parts: &[PartHealth], detail: Detail) -> Result<HealthView, Problem> {
    let views: Vec<PartView> = parts.iter().map(PartView::from).collect();
    let status = match Condition::of(parts) {
        Condition::Ready => "ready",
        Condition::Degraded => "degraded",
        Condition::NotReady => {
            let problem = Problem::unavailable(
                kind::NOT_READY,
                "A part that the service needs does not answer.",
            );
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
    fn a_required_part_that_is_down_is_named_without_the_cause() {
        let parts = [
            part("broker", Need::Spared, Some("connection refused")),
            part("gate", Need::Needed, Some("refused by 10.0.0.7")),
            part("store", Need::Needed, None),
        ];
        let problem = readiness(&parts, Detail::Summary).unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code), (503, "NOT_READY"));
        let members = format!("{:?}", problem.members);
        assert!(members.contains("gate") && !members.contains("10.0.0.7"));
    }

    #[test]
    fn without_an_optional_part_the_service_is_degraded() {
        let parts = [
            part("store", Need::Needed, None),
            part("broker", Need::Spared, Some("connection refused")),
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
    fn parts_are_listed_on_request() {
        let parts = [part("store", Need::Needed, None)];
        let summary = readiness(&parts, Detail::Summary).unwrap();
        assert_eq!((summary.status.as_str(), summary.parts), ("ready", None));
        let listed = readiness(&parts, Detail::Parts).unwrap().parts;
        assert_eq!(listed.unwrap().len(), 1);
    }
}
