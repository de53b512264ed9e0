//! Bodies of requests about accounts: their schemas, and how they are read.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use secrecy::SecretString;
use serde::Serialize;

use crate::access::accounts::{COMMON, Change, PASSWORD_CHARACTERS, Wanted, is_common};
use crate::access::identity::{Scope, Scopes};
use crate::domain::LoginName;
use crate::http::fields::{Fields, FromFields, Said};
use crate::http::json::RequestBodySchema;
use crate::http::problem::Problem;

/// What an account may do as an admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Enum)]
#[oai(rename = "Scope")]
pub enum ScopeWord {
    /// Look at campaigns, and what became of them.
    #[oai(rename = "campaign:read")]
    #[serde(rename = "campaign:read")]
    CampaignRead,
    /// Make, change and move campaigns, and whatever else changes something.
    #[oai(rename = "campaign:write")]
    #[serde(rename = "campaign:write")]
    CampaignWrite,
    /// Look at dead letters, publish them again, discard them.
    #[oai(rename = "deadletter:replay")]
    #[serde(rename = "deadletter:replay")]
    DeadletterReplay,
    /// Read statistics.
    #[oai(rename = "stats:read")]
    #[serde(rename = "stats:read")]
    StatsRead,
    /// Use the test endpoints.
    #[oai(rename = "test:run")]
    #[serde(rename = "test:run")]
    TestRun,
    /// Make accounts and change them.
    #[oai(rename = "account:manage")]
    #[serde(rename = "account:manage")]
    AccountManage,
    /// Use the coupons that customers show.
    #[oai(rename = "coupon:redeem")]
    #[serde(rename = "coupon:redeem")]
    CouponRedeem,
    /// See the personal data of others in what another scope shows.
    #[oai(rename = "pii:read")]
    #[serde(rename = "pii:read")]
    PiiRead,
    /// Read the audit log.
    #[oai(rename = "audit:read")]
    #[serde(rename = "audit:read")]
    AuditRead,
}

impl From<Scope> for ScopeWord {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::CampaignRead => Self::CampaignRead,
            Scope::CampaignWrite => Self::CampaignWrite,
            Scope::DeadletterReplay => Self::DeadletterReplay,
            Scope::StatsRead => Self::StatsRead,
            Scope::TestRun => Self::TestRun,
            Scope::AccountManage => Self::AccountManage,
            Scope::CouponRedeem => Self::CouponRedeem,
            Scope::PiiRead => Self::PiiRead,
            Scope::AuditRead => Self::AuditRead,
        }
    }
}

/// Makes an account.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct CreateAccount {
    /// What they log in as; two that differ in case alone are the same.
    #[oai(validator(pattern = "^[A-Za-z0-9._@+-]{1,64}$"))]
    login: String,
    /// The password.
    #[oai(validator(min_length = 12, max_length = 128))]
    password: String,
    /// What it may do as an admin; nothing when left out.
    scopes: Option<Vec<ScopeWord>>,
}

impl Example for CreateAccount {
    fn example() -> Self {
        Self {
            login: "ada@example.org".to_owned(),
            password: "correct horse battery staple".to_owned(),
            scopes: Some(vec![ScopeWord::CampaignRead]),
        }
    }
}

impl RequestBodySchema for CreateAccount {
    type Read = AccountDraft;
}

/// An account to be made, read.
#[derive(Debug)]
pub struct AccountDraft {
    /// None only where a mistake was noted.
    login: Option<LoginName>,
    password: SecretString,
    scopes: Scopes,
}

impl AccountDraft {
    /// The account to make.
    pub fn wanted(self) -> Result<Wanted, Problem> {
        Ok(Wanted {
            login: self.login.ok_or_else(Problem::internal)?,
            password: self.password,
            scopes: self.scopes,
        })
    }
}

impl FromFields for AccountDraft {
    fn from_fields(fields: &mut Fields) -> Self {
        let text = fields.text("login", &(0..=usize::MAX));
        let login = match &text {
            Said::This(text) => LoginName::parse(text),
            Said::Null | Said::Nothing => None,
        };
        if matches!(text, Said::This(_)) && login.is_none() {
            fields.wrong("login", LoginName::FORM);
        }
        fields.required("login", text);
        let password = password(fields);
        let scopes = scopes(fields);
        Self {
            login,
            password: fields.required("password", password).into(),
            scopes: fields.not_null("scopes", scopes).unwrap_or_default(),
        }
    }
}

/// Changes an account, and ends its sessions. What is left out stays as it is.
#[derive(Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none, example)]
pub struct ChangeAccount {
    /// The new password.
    #[oai(validator(min_length = 12, max_length = 128))]
    password: Option<String>,
    /// What it may do as an admin from now on.
    scopes: Option<Vec<ScopeWord>>,
    /// Whether nobody may log in by it.
    disabled: Option<bool>,
    /// Whether its one-time codes are disabled, because their owner lost them; false when left out. Only the owner
    /// enables them.
    reset_totp: Option<bool>,
}

impl Example for ChangeAccount {
    fn example() -> Self {
        Self {
            password: None,
            scopes: Some(Vec::new()),
            disabled: Some(true),
            reset_totp: None,
        }
    }
}

impl RequestBodySchema for ChangeAccount {
    type Read = Change;
}

impl FromFields for Change {
    fn from_fields(fields: &mut Fields) -> Self {
        let password = password(fields);
        let scopes = scopes(fields);
        let disabled = fields.flag("disabled");
        let reset_totp = fields.flag("resetTotp");
        Self {
            password: fields
                .not_null("password", password)
                .map(SecretString::from),
            scopes: fields.not_null("scopes", scopes),
            disabled: fields.not_null("disabled", disabled),
            reset_totp: fields.not_null("resetTotp", reset_totp).unwrap_or_default(),
        }
    }
}

fn password(fields: &mut Fields) -> Said<String> {
    new_password(fields, "password")
}

/// A password that an account is to have.
pub fn new_password(fields: &mut Fields, name: &'static str) -> Said<String> {
    let said = fields.text(name, &PASSWORD_CHARACTERS);
    if let Said::This(password) = &said
        && is_common(password)
    {
        fields.wrong(name, COMMON);
    }
    said
}

fn scopes(fields: &mut Fields) -> Said<Scopes> {
    let words = Scope::ALL.map(Scope::as_str);
    match fields.words("scopes", &words) {
        Said::This(named) => Said::This(Scopes::among(named.iter().map(String::as_str))),
        Said::Null => Said::Null,
        Said::Nothing => Said::Nothing,
    }
}
