//! What the audit log is told of a campaign: the fields that were set or changed, under the names that
//! clients know. Pure.

use serde_json::{Map, Value, json};

use crate::domain::{AuditAction, AuditNote, Campaign, Origin};
use crate::parts::store::{CampaignChange, NewCampaign};

/// The entry of a campaign that is to be created; the store adds its number.
pub(super) fn created(by: Origin, new: &NewCampaign) -> AuditNote {
    let after = json!({
        "name": new.name,
        "description": new.description,
        "kind": new.kind,
        "state": new.state,
        "totalStock": new.total_stock,
        "perUserLimit": new.per_user_limit,
        "maxQuantity": new.max_quantity,
        "price": new.price,
        "holdSeconds": new.hold_seconds,
        "opensAt": new.opens_at,
        "closesAt": new.closes_at,
        "reward": new.reward,
        "cancellable": new.cancellable,
    });
    AuditNote {
        by,
        action: AuditAction::CampaignCreate,
        campaign: None,
        subject: None,
        before: None,
        after: Some(after),
    }
}

/// The entry of a change to a campaign as it stands: the fields that become other than they are.
pub(super) fn changed(note: AuditNote, stands: &Campaign, change: &CampaignChange) -> AuditNote {
    let fields = [
        ("name", json!(stands.name), said(change.name.as_ref())),
        (
            "description",
            json!(stands.description),
            said(change.description.as_ref()),
        ),
        ("state", json!(stands.state), said(change.state.as_ref())),
        (
            "totalStock",
            json!(stands.total_stock),
            said(change.total_stock.as_ref()),
        ),
        (
            "perUserLimit",
            json!(stands.per_user_limit),
            said(change.per_user_limit.as_ref()),
        ),
        (
            "maxQuantity",
            json!(stands.max_quantity),
            said(change.max_quantity.as_ref()),
        ),
        ("price", json!(stands.price), said(change.price.as_ref())),
        (
            "holdSeconds",
            json!(stands.hold_seconds),
            said(change.hold_seconds.as_ref()),
        ),
        (
            "opensAt",
            json!(stands.opens_at),
            said(change.opens_at.as_ref()),
        ),
        (
            "closesAt",
            json!(stands.closes_at),
            said(change.closes_at.as_ref()),
        ),
        ("reward", json!(stands.reward), said(change.reward.as_ref())),
        (
            "cancellable",
            json!(stands.cancellable),
            said(change.cancellable.as_ref()),
        ),
    ];
    let (mut before, mut after) = (Map::new(), Map::new());
    for (name, was, becomes) in fields {
        if let Some(becomes) = becomes.filter(|becomes| *becomes != was) {
            before.insert(name.to_owned(), was);
            after.insert(name.to_owned(), becomes);
        }
    }
    note.from(before.into()).to(after.into())
}

/// What a field is to become; none: it is left alone.
fn said(value: Option<&impl serde::Serialize>) -> Option<Value> {
    value.map(|value| json!(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Actor;
    use crate::domain::{CampaignId, Kind, Reward, State};
    use crate::runtime::clock::Clock;

    fn campaign() -> Campaign {
        Campaign {
            id: CampaignId(7),
            name: "old".to_owned(),
            description: String::new(),
            kind: Kind::General,
            state: State::Open,
            total_stock: Some(5),
            committed_units: 1,
            per_user_limit: 1,
            per_user_limit_max: 1,
            max_quantity: 1,
            price: None,
            hold_seconds: 120,
            opens_at: None,
            closes_at: None,
            reward: Some(Reward::Points(1)),
            cancellable: false,
            allow_list: None,
            returns: 0,
            gate_epoch: 1,
            version: 3,
            created_at: Clock::System.now(),
        }
    }

    #[test]
    fn only_changed_values_are_recorded() {
        let change = CampaignChange {
            name: Some("new".to_owned()),
            total_stock: Some(None),
            reward: Some(None),
            max_quantity: Some(1),
            ..CampaignChange::default()
        };
        let by = Origin {
            actor: Actor::CommandLine,
            request_id: None,
            address: None,
        };
        let note = AuditNote::about(by, AuditAction::CampaignChange, CampaignId(7));
        let note = changed(note, &campaign(), &change);
        let before = json!({ "name": "old", "totalStock": 5, "reward": { "points": 1 } });
        let after = json!({ "name": "new", "totalStock": null, "reward": null });
        assert_eq!((note.before, note.after), (Some(before), Some(after)));
    }
}
