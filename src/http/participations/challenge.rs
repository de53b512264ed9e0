//! The token that proves a passed challenge.

use poem::Request;
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};

use crate::access::challenge::ChallengeError;
use crate::domain::{CampaignId, UserId};
use crate::http::App;
use crate::http::extractor::extractor;
use crate::http::problem::Problem;

/// The `X-Challenge-Token` of a request.
pub struct ChallengeToken(Header);

enum Header {
    Absent,
    Token(String),
    /// More than one, or one that is not text.
    Ambiguous,
}

impl ChallengeToken {
    /// The token of a request.
    pub fn of(request: &Request) -> Self {
        let mut values = request.headers().get_all("x-challenge-token").iter();
        let header = match (values.next(), values.next()) {
            (None, _) => Header::Absent,
            (Some(value), None) => match value.to_str() {
                Ok(token) => Header::Token(token.to_owned()),
                Err(_) => Header::Ambiguous,
            },
            (Some(_), Some(_)) => Header::Ambiguous,
        };
        Self(header)
    }

    /// Checks the token of a user, if the campaign needs one.
    pub fn check(&self, app: &App, campaign: CampaignId, user: UserId) -> Result<(), Problem> {
        let challenge = &app.settings.challenge;
        let token = match &self.0 {
            Header::Absent => None,
            Header::Token(token) => Some(token.as_str()),
            Header::Ambiguous if challenge.is_required(campaign) => {
                return Err(ChallengeError::Malformed.into());
            }
            Header::Ambiguous => return Ok(()),
        };
        Ok(challenge.admit(campaign, user, token, app.clock.now())?)
    }
}

extractor! { ChallengeToken as Parameter(String) {
    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))))
    }
} |request| Ok::<_, Problem>(Self::of(request)) }
