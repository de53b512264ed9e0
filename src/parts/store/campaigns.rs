//! Campaigns in the store: create, read, change. Only `participations` changes the committed units.

mod change;
mod dated;
mod events;
mod states;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

pub use self::change::CampaignChange;
pub use self::states::States;
use super::entity::campaign::{ActiveModel, Column, Entity, Model};
use super::json::{from_text, to_text};
use super::numbers::{narrow, to_signed, to_unsigned};
use super::unreadable::parse;
use super::{Store, StoreError};
use crate::domain::campaign::Ratings;
use crate::domain::{
    AllowListId, AuditNote, Campaign, CampaignId, CampaignLog, Kind, Reward, State, Timestamp,
    to_stored_precision,
};

/// A campaign to be created, in the state `Draft`, `Scheduled` or `Open`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each field is the campaign's field of that name"
)]
pub struct NewCampaign {
    pub name: String,
    pub description: String,
    pub kind: Kind,
    pub state: State,
    pub total_stock: Option<u64>,
    pub per_user_limit: u32,
    pub max_quantity: u32,
    pub price: Option<u64>,
    pub hold_seconds: u32,
    pub opens_at: Option<Timestamp>,
    pub closes_at: Option<Timestamp>,
    pub reward: Option<Reward>,
    pub cancellable: bool,
}

/// A filter of campaigns, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CampaignFilter {
    /// Only those in these states.
    pub states: States,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only those with a lower number: the last one of the previous page.
    pub after: Option<CampaignId>,
    /// Maximum number of rows.
    pub limit: u64,
}

impl Store {
    /// Creates a campaign with an empty gate of generation 0, and its events and the entry of the audit log in the same
    /// transaction.
    pub async fn create_campaign(
        &self,
        new: NewCampaign,
        note: Option<AuditNote>,
    ) -> Result<Campaign, StoreError> {
        let now = to_stored_precision(self.clock.now());
        let row = ActiveModel {
            name: Set(new.name),
            description: Set(new.description),
            kind: Set(new.kind.as_str().to_owned()),
            state: Set(new.state.as_str().to_owned()),
            total_stock: Set(new.total_stock.map(to_signed)),
            committed_units: Set(0),
            participation_count: Set(0),
            per_user_limit: Set(narrow(new.per_user_limit)),
            per_user_limit_max: Set(narrow(new.per_user_limit)),
            max_quantity: Set(narrow(new.max_quantity)),
            price: Set(new.price.map(to_signed)),
            hold_seconds: Set(narrow(new.hold_seconds)),
            opens_at: Set(new.opens_at.map(to_stored_precision)),
            closes_at: Set(new.closes_at.map(to_stored_precision)),
            reward: Set(reward_text(new.reward.as_ref())?),
            cancellable: Set(new.cancellable),
            has_coupons: Set(matches!(new.reward, Some(Reward::Coupon(_)))),
            reward_since: Set(now),
            returns: Set(0),
            reviews: Set(0),
            rating_sum: Set(0),
            gate_epoch: Set(0),
            version: Set(1),
            created_at: Set(now),
            updated_at: Set(now),
            ..ActiveModel::default()
        };
        let tx = self.begin().await?;
        let inserted = Entity::insert(row).exec(&tx).await?;
        let id = CampaignId(inserted.last_insert_id);
        let note = note.map(|note| AuditNote {
            campaign: Some(id),
            ..note
        });
        self.write_notes(&tx, note.as_slice()).await?;
        let row = Entity::find_by_id(id.0).one(&tx).await?;
        let row = row.ok_or_else(|| StoreError::unreadable("the campaign just created", id))?;
        let written = row.campaign_events;
        let campaign = Campaign::try_from(row)?;
        self.write_log(&tx, id, written, &CampaignLog::created(&campaign))
            .await?;
        tx.commit().await?;
        Ok(campaign)
    }

    /// One campaign.
    pub async fn campaign(&self, id: CampaignId) -> Result<Option<Campaign>, StoreError> {
        Entity::find_by_id(id.0)
            .one(&self.db)
            .await?
            .map(Campaign::try_from)
            .transpose()
    }

    /// One campaign, read from a server that accepts writes: for irrevocable decisions.
    pub async fn current_campaign(&self, id: CampaignId) -> Result<Option<Campaign>, StoreError> {
        let tx = self.begin_current().await?;
        let row = Entity::find_by_id(id.0).one(&tx).await?;
        self.end_current(tx).await?;
        row.map(Campaign::try_from).transpose()
    }

    /// One campaign, with the number of participations that were ever committed.
    pub async fn campaign_and_count(
        &self,
        id: CampaignId,
    ) -> Result<Option<(Campaign, u64)>, StoreError> {
        let Some(row) = Entity::find_by_id(id.0).one(&self.db).await? else {
            return Ok(None);
        };
        let count = to_unsigned(row.participation_count);
        Ok(Some((Campaign::try_from(row)?, count)))
    }

    /// A page of campaigns, newest first. Unreadable ones are set aside, and replaced by further ones.
    pub async fn campaigns(&self, filter: &CampaignFilter) -> Result<Vec<Campaign>, StoreError> {
        let mut campaigns: Vec<Campaign> = Vec::new();
        let mut filter = filter.clone();
        loop {
            let rows = self.campaign_rows(&filter).await?;
            let is_last = (rows.len() as u64) < filter.limit;
            filter.after = rows.last().map(|row| CampaignId(row.id));
            for row in rows {
                let id = row.id;
                match Campaign::try_from(row) {
                    Ok(campaign) => {
                        campaigns.push(campaign);
                        filter.limit -= 1;
                    }
                    Err(error) => self.unreadable.set_aside("campaign", &id, &error),
                }
            }
            if is_last || filter.limit == 0 {
                return Ok(campaigns);
            }
        }
    }

    async fn campaign_rows(&self, filter: &CampaignFilter) -> Result<Vec<Model>, StoreError> {
        let mut query = Entity::find().order_by_desc(Column::Id).limit(filter.limit);
        if let Some(states) = filter.states.condition(&self.now_expr()) {
            query = query.filter(states);
        }
        if let Some(kind) = filter.kind {
            query = query.filter(Column::Kind.eq(kind.as_str()));
        }
        if let Some(after) = filter.after {
            query = query.filter(Column::Id.lt(after.0));
        }
        Ok(query.all(&self.db).await?)
    }
}

impl TryFrom<Model> for Campaign {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let reward = row.reward.as_deref();
        let reward = reward.map(|text| from_text("a campaign's reward", text));
        Ok(Self {
            id: CampaignId(row.id),
            kind: parse("a campaign's kind", &row.kind, Kind::parse)?,
            state: parse("a campaign's state", &row.state, State::parse)?,
            name: row.name,
            description: row.description,
            total_stock: row.total_stock.map(to_unsigned),
            committed_units: to_unsigned(row.committed_units),
            per_user_limit: row.per_user_limit.unsigned_abs(),
            per_user_limit_max: row.per_user_limit_max.unsigned_abs(),
            max_quantity: row.max_quantity.unsigned_abs(),
            price: row.price.map(to_unsigned),
            hold_seconds: row.hold_seconds.unsigned_abs(),
            opens_at: row.opens_at,
            closes_at: row.closes_at,
            reward: reward.transpose()?,
            cancellable: row.cancellable,
            allow_list: row.allow_list_id.map(AllowListId),
            returns: to_unsigned(row.returns),
            ratings: Ratings {
                count: to_unsigned(row.reviews),
                sum: to_unsigned(row.rating_sum),
            },
            gate_epoch: to_unsigned(row.gate_epoch),
            version: to_unsigned(row.version),
            created_at: row.created_at,
        })
    }
}

fn reward_text(reward: Option<&Reward>) -> Result<Option<String>, StoreError> {
    let text = reward.map(|reward| to_text("a reward to store", reward));
    text.transpose()
}
