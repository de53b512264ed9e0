//! Passwords: Argon2id (RFC 9106), stored as PHC strings. A hash is expensive on purpose, so few passwords are hashed at
//! once, on blocking threads, and a caller that waits too long for its turn gets an error.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::password_hash::Error;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AccountError, AccountsConfig};

/// Number of characters of a password. A longer one costs hashing time and adds no safety.
pub const PASSWORD_CHARACTERS: RangeInclusive<usize> = 12..=128;

/// The error text for a common password.
pub const COMMON: &str =
    "is one of the most common passwords, or has fewer than 5 different characters";

/// Fewest different characters of a password.
const DIFFERENT_MIN: usize = 5;

/// The most common passwords of 12 characters and more that were ever published, in lower case: the 7,579 of
/// printable ASCII among the first 500,000 of `10-million-password-list-top-1000000` of the project `SecLists`, under
/// the MIT licence. Its notice, and what is known of where the list comes from: `common_passwords.LICENSE`.
static COMMON_PASSWORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Whether a password is too common.
#[must_use]
pub fn is_common(password: &str) -> bool {
    let mut letters: Vec<char> = password.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    letters.len() < DIFFERENT_MIN || COMMON_PASSWORDS.contains(password.to_lowercase().as_str())
}

/// For a missing account the password is compared with the hash of this text, so that the response takes as long.
const NOBODY: &str = "a password that nobody has";

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PasswordCheck {
    /// Another password, or no account.
    Wrong,
    /// The correct password.
    Right,
    /// The correct password, hashed with an old configuration.
    Outdated,
}

/// Hashes passwords. Clones share the limit on concurrent hashes.
#[derive(Clone, Debug)]
pub struct Hasher {
    argon2: Argon2<'static>,
    params: Params,
    turns: Arc<Semaphore>,
    wait_max: Duration,
    nobody: SecretString,
}

impl Hasher {
    /// A hasher with this configuration. Hashes `NOBODY` once.
    pub fn new(config: &AccountsConfig) -> Result<Self, AccountError> {
        let params = Params::new(
            config.password_memory_kib,
            config.password_iterations,
            config.password_lanes,
            None,
        )
        .map_err(|error| AccountError::Hash(error.into()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let nobody = hashed(&argon2, NOBODY)?;
        Ok(Self {
            argon2,
            params,
            turns: Arc::new(Semaphore::new(config.hashing_max)),
            wait_max: config.hashing_wait_max,
            nobody,
        })
    }

    pub(super) async fn hash(&self, password: &SecretString) -> Result<SecretString, AccountError> {
        let (argon2, password) = (self.argon2.clone(), password.clone());
        self.with_permit(move || hashed(&argon2, password.expose_secret()))
            .await
    }

    /// Compares a password with a stored hash. Without a hash it is wrong, after the same work.
    pub(super) async fn verify(
        &self,
        password: &SecretString,
        stored: Option<&SecretString>,
    ) -> Result<PasswordCheck, AccountError> {
        let is_somebody = stored.is_some();
        let stored = stored.unwrap_or(&self.nobody).clone();
        let (hasher, password) = (self.clone(), password.clone());
        let verdict = self
            .with_permit(move || hasher.compare(password.expose_secret(), stored.expose_secret()))
            .await?;
        Ok(if is_somebody {
            verdict
        } else {
            PasswordCheck::Wrong
        })
    }

    fn compare(&self, password: &str, stored: &str) -> Result<PasswordCheck, AccountError> {
        let stored = PasswordHash::new(stored).map_err(|error| AccountError::Hash(error.into()))?;
        match self.argon2.verify_password(password.as_bytes(), &stored) {
            Ok(()) if self.is_current(&stored) => Ok(PasswordCheck::Right),
            Ok(()) => Ok(PasswordCheck::Outdated),
            Err(Error::PasswordInvalid) => Ok(PasswordCheck::Wrong),
            Err(error) => Err(AccountError::Hash(error)),
        }
    }

    fn is_current(&self, stored: &PasswordHash) -> bool {
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        stored.algorithm == Algorithm::Argon2id.ident()
            && stored.version == Some(Version::V0x13.into())
            && Params::try_from(stored).is_ok_and(|params| costs(&params) == costs(&self.params))
    }

    /// Runs the work with a permit. The permit is released at the end of the work, also if the caller is dropped.
    async fn with_permit<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(self.wait_max, turn).await;
        let Ok(Ok(turn)) = turn else {
            return Err(AccountError::Busy);
        };
        let done = tokio::task::spawn_blocking(move || {
            let _turn: OwnedSemaphorePermit = turn;
            work()
        });
        done.await.map_err(AccountError::Thread)?
    }
}

fn hashed(argon2: &Argon2<'_>, password: &str) -> Result<SecretString, AccountError> {
    let hash = argon2
        .hash_password(password.as_bytes())
        .map_err(AccountError::Hash)?;
    Ok(hash.to_string().into())
}

#[cfg(test)]
mod tests;
