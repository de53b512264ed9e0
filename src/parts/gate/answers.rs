//! The scripts' answers about entrants and leases.

use std::time::Duration;

use super::reply::{Fields, Reply, instant, unknown};
use super::{Admission, GateError, HeldLease, Lease};
use crate::domain::Refusal;

/// The answers to that number of entrants, one each.
pub(super) fn admissions(reply: Reply, entrants: usize) -> Result<Vec<Admission>, GateError> {
    let replies = reply.list()?;
    if replies.len() != entrants {
        return Err(GateError::Protocol(format!(
            "{} answers to {entrants} entrants",
            replies.len()
        )));
    }
    let replies = replies.into_iter();
    replies.map(|reply| admission(reply.fields()?)).collect()
}

fn admission(mut fields: Fields) -> Result<Admission, GateError> {
    let code = fields.text()?;
    if code == "MISSING" {
        return Ok(Admission::Missing);
    }
    let remaining = fields.optional_count()?;
    let refusal = match code.as_str() {
        "ADMITTED" => {
            let [epoch, rank, ends_us, left_us] = fields.counts()?;
            return Ok(Admission::Admitted(Lease {
                epoch,
                rank,
                remaining,
                lease_until: instant(ends_us)?,
                left: Duration::from_micros(left_us),
                not_refused_for: fields.last_count()?.map(Duration::from_micros),
            }));
        }
        "UNDECIDED" => {
            return Ok(Admission::Undecided {
                first: fields.participation()?,
                remaining,
            });
        }
        "ALREADY_PARTICIPATED" => Refusal::AlreadyParticipated {
            first: fields.participation()?,
        },
        "NOT_OPEN_YET" => Refusal::NotOpenYet {
            opens_at: fields.optional_instant()?,
        },
        "SOLD_OUT" => Refusal::SoldOut,
        "ENDED" => Refusal::Ended,
        "PAUSED" => Refusal::Paused,
        "LIMIT_EXCEEDED" => Refusal::LimitExceeded,
        "NOT_ALLOWED" => Refusal::NotAllowed,
        code => return Err(unknown(code)),
    };
    Ok(Admission::Refused { refusal, remaining })
}

pub(super) fn held_lease(reply: Reply) -> Result<HeldLease, GateError> {
    let mut fields = reply.fields()?;
    Ok(HeldLease {
        participation: fields.participation()?,
        epoch: fields.count()?,
        ends_at: fields.instant()?,
    })
}

#[cfg(test)]
mod tests;
