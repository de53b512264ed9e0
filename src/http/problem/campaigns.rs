//! The problems of managing campaigns: lifecycle, allow lists, exports and gates.

use std::borrow::Cow;

use super::participations::no_payment_provider;
use super::{FieldProblem, Problem, busy, kind, malformed, too_large, too_slow};
use crate::operate::export::ExportError;
use crate::operate::lifecycle::LifecycleError;
use crate::parts::gate::GateError;
use crate::runtime::telemetry::cause;
use crate::sale::allow_list::AllowListError;
use crate::sale::reconcile::ReconcileError;

impl From<LifecycleError> for Problem {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::Unknown => Self::not_found("There is no such campaign."),
            LifecycleError::WrongState { from, to } => wrong_state(format!(
                "A campaign that is {} cannot become {}.",
                from.as_str(),
                to.as_str()
            ))
            .with_member("state", from.as_str()),
            LifecycleError::Archived => wrong_state("An archived campaign cannot be changed.")
                .with_member("state", "archived"),
            LifecycleError::Invalid { field, problem } => {
                Self::invalid_field(wire_name(field), problem)
            }
            LifecycleError::NoProvider => {
                no_payment_provider().with_error(FieldProblem::new("price", "cannot be paid"))
            }
            LifecycleError::Store(error) => error.into(),
            LifecycleError::Gate(error) => error.into(),
        }
    }
}

/// 409: the state of a resource does not permit the request.
pub(in crate::http) fn wrong_state(detail: impl Into<Cow<'static, str>>) -> Problem {
    kind::WRONG_STATE.because(detail)
}

/// The name of a field in the API: `opens_at` is `opensAt`.
fn wire_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut raise = false;
    for letter in field.chars() {
        if letter == '_' {
            raise = true;
        } else if raise {
            name.push(letter.to_ascii_uppercase());
            raise = false;
        } else {
            name.push(letter);
        }
    }
    name
}

impl From<AllowListError> for Problem {
    fn from(error: AllowListError) -> Self {
        match error {
            AllowListError::Unknown => Self::not_found("There is no such campaign."),
            AllowListError::NoList => {
                Self::not_found("The campaign has no allow list: everybody may participate.")
            }
            AllowListError::Archived => LifecycleError::Archived.into(),
            AllowListError::Busy | AllowListError::Stopped => busy(),
            AllowListError::Line(bad) => {
                let problem = format!("{}, in line {}", bad.problem, bad.line);
                Self::invalid_field(bad.field, problem).with_member("line", bad.line)
            }
            AllowListError::Empty => Self::invalid_field(
                "userId",
                "must be there at least once; to exclude everybody, pause the campaign",
            ),
            AllowListError::TooMany(max) => Self {
                detail: format!("The allow list has more than {max} lines.").into(),
                ..too_large()
            },
            AllowListError::Cut(error) => {
                tracing::debug!(
                    error = cause(&error),
                    "the import of an allow list was interrupted"
                );
                malformed("The body ended before it was complete.")
            }
            AllowListError::Slow => too_slow(),
            AllowListError::Superseded => kind::SUPERSEDED.because(
                "Another import for this campaign began, or its allow list was removed, meanwhile.",
            ),
            AllowListError::Store(error) => error.into(),
        }
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Unknown => Self::not_found("There is no such campaign."),
            ExportError::Busy => busy(),
            ExportError::Store(error) => error.into(),
            // Only a transfer that has begun ends this way, and it already has its response.
            ExportError::CutOff => Self::internal(),
        }
    }
}

impl From<ReconcileError> for Problem {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Gate(error) => error.into(),
            ReconcileError::Closed => GateError::Away.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::http::StatusCode;

    use super::*;
    use crate::domain::State;

    #[test]
    fn fields_have_their_names_in_the_api() {
        let problem = Problem::from(LifecycleError::Invalid {
            field: "closes_at",
            problem: "must be after opensAt".to_owned(),
        });
        assert_eq!(problem.errors.first().unwrap().field, "closesAt");
    }

    #[test]
    fn an_impossible_change_of_state_is_a_conflict() {
        let problem = Problem::from(LifecycleError::WrongState {
            from: State::Closed,
            to: State::Open,
        });
        assert_eq!(problem.status, StatusCode::CONFLICT);
        assert_eq!(
            problem.detail,
            "A campaign that is closed cannot become open."
        );
    }
}
