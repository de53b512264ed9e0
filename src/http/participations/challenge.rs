//! The token that shows that a challenge was passed.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::access::challenge::ChallengeError;
use crate::http::App;
use crate::http::problem::Problem;
use crate::sale::participate;

/// The `X-Challenge-Token` of a request.
pub struct ChallengeToken(Shown);

enum Shown {
    Nothing,
    Token(String),
    /// More than one, or one that is no text: which of them is meant is not guessed.
    Unclear,
}

impl ChallengeToken {
    /// That of a request.
    pub fn of(request: &Request) -> Self {
        let mut values = request.headers().get_all("x-challenge-token").iter();
        let shown = match (values.next(), values.next()) {
            (None, _) => Shown::Nothing,
            (Some(value), None) => match value.to_str() {
                Ok(token) => Shown::Token(token.to_owned()),
                Err(_) => Shown::Unclear,
            },
            (Some(_), Some(_)) => Shown::Unclear,
        };
        Self(shown)
    }

    /// Lets whoever asks take part, as far as challenges go.
    pub fn check(&self, app: &App, asked: &participate::Request) -> Result<(), Problem> {
        let challenge = &app.settings.challenge;
        let token = match &self.0 {
            Shown::Nothing => None,
            Shown::Token(token) => Some(token.as_str()),
            Shown::Unclear if challenge.is_required(asked.campaign) => {
                return Err(ChallengeError::Malformed.into());
            }
            Shown::Unclear => return Ok(()),
        };
        let admitted = challenge.admit(asked.campaign, asked.user, token, app.clock.now());
        Ok(admitted?)
    }
}

impl<'a> ApiExtractor<'a> for ChallengeToken {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

    type ParamType = String;
    type ParamRawType = String;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        Ok(Self::of(request))
    }
}
