//! Audit entries of campaigns: the fields that were set or changed, under their names in the API. Pure.

use serde_json::{Map, json};

use crate::domain::{AuditAction, AuditNote, Campaign, Origin};
use crate::parts::store::{CampaignChange, NewCampaign};

/// The entry of a new campaign; the store adds its number.
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

/// The entry of a change to a campaign: the fields whose values differ.
pub(super) fn changed(note: AuditNote, current: &Campaign, change: &CampaignChange) -> AuditNote {
    let (mut before, mut after) = (Map::new(), Map::new());
    // The name of a field, and its member in both types.
    macro_rules! compare {
        ($($name:literal: $field:ident,)*) => {$(
            let old = json!(current.$field);
            if let Some(new) = change.$field.as_ref().map(|new| json!(new)).filter(|new| *new != old) {
                before.insert($name.to_owned(), old);
                after.insert($name.to_owned(), new);
            }
        )*};
    }
    compare! {
        "name": name,
        "description": description,
        "state": state,
        "totalStock": total_stock,
        "perUserLimit": per_user_limit,
        "maxQuantity": max_quantity,
        "price": price,
        "holdSeconds": hold_seconds,
        "opensAt": opens_at,
        "closesAt": closes_at,
        "reward": reward,
        "cancellable": cancellable,
    }
    note.from(before.into()).to(after.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CampaignId, Reward};

    #[test]
    fn only_changed_values_are_recorded() {
        let change = CampaignChange {
            name: Some("new".to_owned()),
            total_stock: Some(None),
            reward: Some(None),
            max_quantity: Some(1),
            ..CampaignChange::default()
        };
        let current = Campaign {
            name: "old".to_owned(),
            total_stock: Some(5),
            max_quantity: 1,
            reward: Some(Reward::Points(1)),
            ..Campaign::example()
        };
        let by = Origin::of_command_line();
        let note = AuditNote::about(by, AuditAction::CampaignChange, CampaignId(7));
        let note = changed(note, &current, &change);
        let before = json!({ "name": "old", "totalStock": 5, "reward": { "points": 1 } });
        let after = json!({ "name": "new", "totalStock": null, "reward": null });
        assert_eq!((note.before, note.after), (Some(before), Some(after)));
    }
}
