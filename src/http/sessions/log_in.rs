//! The request body of a log-in, and the secrets that such bodies contain.

use secrecy::SecretString;

use crate::access::accounts::PASSWORD_CHARACTERS;
use crate::http::fields::{Defined, Fields, Label, request_object};

request_object! {
    /// Logs in.
    #[derive(Debug)]
    pub struct LogIn as "LogIn" {
        /// The login name, in any case.
        pub login: String = text("login", 1..=64).required(),
        /// The password.
        pub password: SecretString = password("password").required(),
        /// Whether the log-in is remembered after its session; false when left out.
        pub is_remembered: bool = flag("rememberMe").optional().unwrap_or(false),
        /// A one-time code, or a recovery code, if the account needs one.
        pub code: Option<SecretString> = code("code").optional(),
    }
    example {
        "login": "ada@example.org",
        "password": "correct horse battery staple",
        "rememberMe": true,
    }
}

impl Fields {
    /// A password to be verified. One that is too short for a password gets the same response as a wrong one.
    pub(super) fn password(&mut self, label: Label) -> Defined<'_, SecretString> {
        let password = self.text(label, 1..=*PASSWORD_CHARACTERS.end());
        password.map(SecretString::from)
    }

    /// A token that was sent to the owner of a login name.
    pub(super) fn mailed_token(&mut self, label: Label) -> Defined<'_, SecretString> {
        self.text(label, 1..=128).map(SecretString::from)
    }

    /// A one-time code, or a recovery code with separators.
    pub(super) fn code(&mut self, label: Label) -> Defined<'_, SecretString> {
        self.text(label, 6..=32).map(SecretString::from)
    }
}
