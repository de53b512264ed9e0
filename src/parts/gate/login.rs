//! Failed log-ins beside the gate, shared by all replicas: of a login name from one address, and of a login name from all
//! addresses. They know no passwords and no accounts.

use std::time::Duration;

use super::GateError;
use super::digest::Digest;
use super::reply::unknown;
use super::script::Script;
use super::script_gate::ScriptGate;

/// How failed log-ins slow down the next ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginBounds {
    /// Failures of a login name from one address that cost no delay.
    pub failures_max: u32,
    /// Failures of a login name from all addresses that cost no delay.
    pub failures_all_max: u32,
    /// The longest delay.
    pub delay_max: Duration,
    /// How long failures count after the last one.
    pub forget: Duration,
    /// How long an address is known after a correct password came from it.
    pub good: Duration,
    /// Failures from a known address after which it is unknown again.
    pub good_failures_max: u32,
    /// Addresses of a login name that are remembered, of each kind.
    pub addresses_max: u32,
}

/// The first delay.
const DELAY: Duration = Duration::from_secs(1);

/// The decision on a log-in attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginTry {
    /// Allowed: a correct password came from this address recently.
    Known,
    /// Allowed, and counted as a failure until it ends otherwise.
    Unknown,
    /// Not allowed before this time has passed.
    Wait(Duration),
}

/// The end of an allowed log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginEnd {
    /// The password was correct.
    Right,
    /// The password was not checked.
    Undecided,
}

impl ScriptGate {
    /// Whether a log-in by this name from this address is allowed; if so, it is counted as a failure. One atomic
    /// step, by the clock of the engine.
    pub async fn try_login(
        &self,
        name: Digest,
        address: &str,
        bounds: &LoginBounds,
    ) -> Result<LoginTry, GateError> {
        let args = [
            address.to_owned(),
            bounds.failures_max.to_string(),
            bounds.failures_all_max.to_string(),
            micros(DELAY),
            micros(bounds.delay_max),
            micros(bounds.forget),
            bounds.good_failures_max.to_string(),
            bounds.addresses_max.to_string(),
        ];
        let keys = [self.login_key(name)];
        let mut fields = self.run(Script::LoginTry, &keys, &args).await?.fields()?;
        match fields.text()?.as_str() {
            "KNOWN" => Ok(LoginTry::Known),
            "TRY" => Ok(LoginTry::Unknown),
            "WAIT" => Ok(LoginTry::Wait(Duration::from_micros(fields.count()?))),
            code => Err(unknown(code)),
        }
    }

    /// Uncounts the failure of an allowed log-in.
    pub async fn end_login(
        &self,
        name: Digest,
        address: &str,
        (tried, end): (LoginTry, LoginEnd),
        bounds: &LoginBounds,
    ) -> Result<(), GateError> {
        let good = match end {
            LoginEnd::Right => bounds.good,
            LoginEnd::Undecided => Duration::ZERO,
        };
        let tried = match tried {
            LoginTry::Known => "KNOWN",
            LoginTry::Unknown | LoginTry::Wait(_) => "TRY",
        };
        let args = [
            address.to_owned(),
            micros(good),
            bounds.addresses_max.to_string(),
            tried.to_owned(),
        ];
        let keys = [self.login_key(name)];
        let reply = self.run(Script::LoginEnd, &keys, &args).await?;
        reply.count().map(drop)
    }

    fn login_key(&self, name: Digest) -> String {
        self.bucket_key(&format!("login_name:{name}"))
    }
}

fn micros(time: Duration) -> String {
    time.as_micros().to_string()
}
