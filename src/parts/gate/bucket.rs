//! Token buckets beside the gate, shared by all replicas. They know no campaigns, and admission does not depend on them.

use std::time::Duration;

use super::GateError;
use super::reply::unknown;
use super::script::Script;
use super::script_gate::ScriptGate;

/// A bucket with this many tokens; one token returns after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Tokens when it is full, at least 1.
    pub tokens: u32,
    /// The time between two tokens, at least a microsecond.
    pub token: Duration,
}

/// The result of taking tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenResult {
    /// They were taken.
    Token {
        /// Remaining tokens.
        left: u64,
        /// Time until the bucket is full again.
        full_in: Duration,
    },
    /// There were not enough.
    Nothing {
        /// Time until there are enough.
        next_in: Duration,
        /// Time until the bucket is full again without further requests.
        full_in: Duration,
    },
}

impl ScriptGate {
    /// Takes a token from the bucket of this name. In one atomic step, by the clock of the engine.
    pub async fn take(&self, name: &str, bucket: Bucket) -> Result<TokenResult, GateError> {
        self.take_many(name, bucket, 1).await
    }

    /// Takes this many tokens at once, or none; at most those of a full bucket, which are never more.
    pub async fn take_many(
        &self,
        name: &str,
        bucket: Bucket,
        count: u32,
    ) -> Result<TokenResult, GateError> {
        let keys = [self.bucket_key(name)];
        let token_us = bucket.token.as_micros().max(1);
        let tokens = bucket.tokens.max(1);
        let count = count.clamp(1, tokens);
        let args = [token_us.to_string(), tokens.to_string(), count.to_string()];
        let mut fields = self.run(Script::Take, &keys, &args).await?.fields()?;
        match fields.text()?.as_str() {
            "TAKEN" => Ok(TokenResult::Token {
                left: fields.count()?,
                full_in: Duration::from_micros(fields.count()?),
            }),
            "EMPTY" => Ok(TokenResult::Nothing {
                next_in: Duration::from_micros(fields.count()?),
                full_in: Duration::from_micros(fields.count()?),
            }),
            code => Err(unknown(code)),
        }
    }

    /// Puts a token back into the bucket of this name.
    pub async fn put_back(&self, name: &str, bucket: Bucket) -> Result<(), GateError> {
        let keys = [self.bucket_key(name)];
        let args = [bucket.token.as_micros().max(1).to_string()];
        let reply = self.run(Script::PutBack, &keys, &args).await?;
        reply.count().map(drop)
    }
}
