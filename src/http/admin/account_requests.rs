//! Request bodies about accounts.

use secrecy::SecretString;
use serde_json::{Value, json};

use crate::access::accounts::{COMMON, Change, PASSWORD_CHARACTERS, Wanted, is_common};
use crate::access::identity::{Scope, Scopes};
use crate::domain::LoginName;
use crate::http::fields::{Defined, Fields, RequestObject};
use crate::http::problem::Problem;
use crate::http::words::Vocabulary;

impl Vocabulary for Scope {
    const NAME: &'static str = "Scope";
    const DESCRIPTION: &'static str = "A permission of an account as an admin.";

    fn words() -> Vec<&'static str> {
        Self::ALL.map(Self::as_str).into()
    }

    fn word(self) -> &'static str {
        self.as_str()
    }

    fn parse(word: &str) -> Option<Self> {
        Self::parse(word)
    }
}

/// An account to be created.
#[derive(Debug)]
pub struct AccountDraft {
    /// None only if a fault was noted.
    login: Option<LoginName>,
    password: SecretString,
    scopes: Scopes,
}

impl AccountDraft {
    /// The account to create.
    pub fn wanted(self) -> Result<Wanted, Problem> {
        Ok(Wanted {
            login: self.login.ok_or_else(Problem::internal)?,
            password: self.password,
            scopes: self.scopes,
        })
    }
}

impl RequestObject for AccountDraft {
    const NAME: &'static str = "CreateAccount";
    const DESCRIPTION: &'static str = "Creates an account.";

    fn example() -> Option<Value> {
        Some(json!({
            "login": "ada@example.org",
            "password": "correct horse battery staple",
            "scopes": ["campaign:read"],
        }))
    }

    fn define(fields: &mut Fields) -> Self {
        let login = fields.text("login", "The login name; case is irrelevant.", ..);
        let login = login
            .pattern("^[A-Za-z0-9._@+-]{1,64}$")
            .try_map(|text| LoginName::parse(&text).map(Some).ok_or(LoginName::FORM))
            .required();
        let password = new_password(fields, "password", "The password.").required();
        Self {
            login,
            password: password.into(),
            scopes: scopes(fields, "Its scopes as an admin; none when left out.")
                .optional()
                .unwrap_or_default(),
        }
    }
}

impl RequestObject for Change {
    const NAME: &'static str = "ChangeAccount";
    const DESCRIPTION: &'static str =
        "Changes an account and ends its sessions. A field that is left out stays unchanged.";

    fn example() -> Option<Value> {
        Some(json!({ "scopes": [], "disabled": true }))
    }

    fn define(fields: &mut Fields) -> Self {
        let password = new_password(fields, "password", "The new password.").optional();
        Self {
            password: password.map(SecretString::from),
            scopes: scopes(fields, "Its new scopes as an admin.").optional(),
            disabled: fields
                .flag("disabled", "Whether it cannot be used to log in.")
                .optional(),
            reset_totp: fields
                .flag(
                    "resetTotp",
                    "Whether to disable its one-time codes, because the owner lost them; false when left out. Only \
                     the owner can enable them.",
                )
                .optional()
                .unwrap_or_default(),
        }
    }
}

/// A password that an account is to have.
pub fn new_password<'a>(
    fields: &'a mut Fields,
    name: &'static str,
    description: &'static str,
) -> Defined<'a, String> {
    let password = fields.text(name, description, PASSWORD_CHARACTERS);
    password.ensure(|password| !is_common(password), COMMON)
}

fn scopes<'a>(fields: &'a mut Fields, description: &'static str) -> Defined<'a, Scopes> {
    let scopes = fields.words::<Scope>("scopes", description);
    scopes.try_map(|scopes| {
        let words = scopes.into_iter().map(Scope::as_str);
        Ok::<_, String>(Scopes::among(words))
    })
}
