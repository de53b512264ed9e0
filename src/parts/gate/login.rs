//! Failed log-ins beside the gate, counted where all replicas see them: for a login name from one address, and
//! for it from all. They know no password and no account.

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
    /// How long an address is good after a right password came from it.
    pub good: Duration,
    /// Failures from a good address after which it is not good any more.
    pub good_failures_max: u32,
    /// Addresses of a login name that are remembered, of each kind.
    pub addresses_max: u32,
}

/// The first delay.
const DELAY: Duration = Duration::from_secs(1);

/// What came of asking whether a log-in may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginTry {
    /// It may: a right password came from this address lately.
    Known,
    /// It may, and counts as a failure until it is taken back.
    Unknown,
    /// It may not before this time has passed.
    Wait(Duration),
}

/// How a log-in ended that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginEnd {
    /// The password was right.
    Right,
    /// Nobody looked at it.
    Undecided,
}

impl ScriptGate {
    /// Asks whether a log-in by this name may be tried from this address, and counts it as a failure. In one
    /// atomic step, by the clock of the engine.
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

    /// Takes back the failure that was counted when the log-in was tried.
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
