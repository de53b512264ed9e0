//! The actors of admin actions. The kind is part of the name, so that no subject of a token and no account can have
//! the name of another kind.

use std::fmt;

use super::UserId;

/// The admin token of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminToken {
    /// The current one.
    Current,
    /// The previous one, which is still accepted while it is replaced.
    Previous,
}

/// The actor of an admin action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The holder of an admin token: `admin-token`, or `admin-token:previous`.
    AdminToken(AdminToken),
    /// An account of this service: `account:7`.
    Account(UserId),
    /// The subject of a JSON Web Token: `jwt:SUBJECT`.
    Subject(String),
    /// A user of a trusted gateway: `user:7`.
    User(UserId),
    /// A command on the machine: `command-line`.
    CommandLine,
    /// Somebody who signs up, or has forgotten the password: `nobody`.
    Nobody,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AdminToken(AdminToken::Current) => formatter.write_str("admin-token"),
            Self::AdminToken(AdminToken::Previous) => formatter.write_str("admin-token:previous"),
            Self::Account(id) => write!(formatter, "account:{id}"),
            Self::Subject(subject) => write!(formatter, "jwt:{subject}"),
            Self::User(id) => write!(formatter, "user:{id}"),
            Self::CommandLine => formatter.write_str("command-line"),
            Self::Nobody => formatter.write_str("nobody"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_name() {
        let subjects = [
            "admin-token",
            "account:7",
            "7",
            "command-line",
            "user:7",
            "nobody",
        ];
        let subjects = subjects.map(|subject| Actor::Subject(subject.to_owned()).to_string());
        for actor in [
            Actor::AdminToken(AdminToken::Current),
            Actor::AdminToken(AdminToken::Previous),
            Actor::Account(UserId(7)),
            Actor::User(UserId(7)),
            Actor::CommandLine,
            Actor::Nobody,
        ] {
            assert!(!subjects.contains(&actor.to_string()), "{actor}");
        }
        assert_ne!(
            Actor::Account(UserId(7)).to_string(),
            Actor::User(UserId(7)).to_string()
        );
    }
}
