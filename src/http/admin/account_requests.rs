//! Request bodies about accounts.

use secrecy::SecretString;

use crate::access::accounts::{COMMON, Change, NewAccount, PASSWORD_CHARACTERS, is_common};
use crate::access::identity::{Scope, Scopes};
use crate::domain::LoginName;
use crate::http::fields::{Defined, Fields, Label, request_object};
use crate::http::problem::Problem;
use crate::http::words::vocabulary;

vocabulary!(Scope, "Scope", "A permission of an account as an admin.");

request_object! {
    /// Creates an account.
    #[derive(Debug)]
    pub struct AccountDraft as "CreateAccount" {
        /// The login name; case is irrelevant.
        login: Option<LoginName> = login_name("login").required(),
        /// The password.
        password: SecretString = new_password("password").required(),
        /// Its scopes as an admin; none when left out.
        scopes: Scopes = scopes("scopes").optional().unwrap_or_default(),
    }
    example {
        "login": "ada@example.org",
        "password": "correct horse battery staple",
        "scopes": ["campaign:read"],
    }
}

impl AccountDraft {
    /// The account to create.
    pub fn account(self) -> Result<NewAccount, Problem> {
        Ok(NewAccount {
            login: self.login.ok_or_else(Problem::internal)?,
            password: self.password,
            scopes: self.scopes,
        })
    }
}

request_object! {
    /// Changes an account and ends its sessions. A field that is left out stays unchanged.
    for Change as "ChangeAccount" {
        /// The new password.
        password = new_password("password").optional(),
        /// Its new scopes as an admin.
        scopes = scopes("scopes").optional(),
        /// Whether it cannot be used to log in.
        disabled = flag("disabled").optional(),
        /// Whether to disable its one-time codes, because the owner lost them; false when left out. Only the owner can
        /// enable them.
        reset_totp = flag("resetTotp").optional().unwrap_or_default(),
    }
    example { "scopes": [], "disabled": true }
}

impl Fields {
    /// The login name of an account.
    pub(in crate::http) fn login_name(&mut self, label: Label) -> Defined<'_, Option<LoginName>> {
        self.text(label, ..)
            .pattern("^[A-Za-z0-9._@+-]{1,64}$")
            .try_map(|text| LoginName::parse(&text).map(Some).ok_or(LoginName::FORM))
    }

    /// A password that an account is to have.
    pub(in crate::http) fn new_password(&mut self, label: Label) -> Defined<'_, SecretString> {
        let password = self.text(label, PASSWORD_CHARACTERS);
        password
            .ensure(|password| !is_common(password), COMMON)
            .map(SecretString::from)
    }

    fn scopes(&mut self, label: Label) -> Defined<'_, Scopes> {
        let scopes = self.words::<Scope>(label);
        scopes.map(|scopes| Scopes::among(scopes.into_iter().map(Scope::as_str)))
    }
}
