use super::*;

/// The least cost that argon2 accepts: these tests do not depend on it.
fn cheap() -> AccountsConfig {
    AccountsConfig {
        password_memory_kib: 8,
        password_iterations: 1,
        hashing_max: 1,
        hashing_wait_max: Duration::from_secs(10),
        ..AccountsConfig::default()
    }
}

fn password(text: &str) -> SecretString {
    text.to_owned().into()
}

#[tokio::test]
async fn only_the_correct_password_is_accepted() {
    let hasher = Hasher::new(&cheap()).unwrap();
    let stored = hasher.hash(&password("correct horse")).await.unwrap();
    let again = hasher.hash(&password("correct horse")).await.unwrap();
    let text = stored.expose_secret();
    assert!(text.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{text}");
    assert_ne!(text, again.expose_secret(), "each has a salt of its own");
    for (shown, verdict) in [
        ("correct horse", PasswordCheck::Right),
        ("Correct horse", PasswordCheck::Wrong),
        ("correct horse ", PasswordCheck::Wrong),
        ("", PasswordCheck::Wrong),
    ] {
        let found = hasher
            .verify(&password(shown), Some(&stored))
            .await
            .unwrap();
        assert_eq!(found, verdict, "{shown:?}");
    }
}

#[tokio::test]
async fn no_password_matches_an_unknown_account() {
    let hasher = Hasher::new(&cheap()).unwrap();
    for shown in [NOBODY, "another"] {
        let found = hasher.verify(&password(shown), None).await.unwrap();
        assert_eq!(found, PasswordCheck::Wrong);
    }
}

#[tokio::test]
async fn hashes_with_other_parameters_are_outdated() {
    let before = Hasher::new(&cheap()).unwrap();
    let stored = before.hash(&password("correct horse")).await.unwrap();
    for changed in [
        AccountsConfig {
            password_memory_kib: 16,
            ..cheap()
        },
        AccountsConfig {
            password_iterations: 2,
            ..cheap()
        },
    ] {
        let now = Hasher::new(&changed).unwrap();
        let verdict = now.verify(&password("correct horse"), Some(&stored)).await;
        assert_eq!(verdict.unwrap(), PasswordCheck::Outdated);
        let wrong = now.verify(&password("wrong"), Some(&stored)).await;
        assert_eq!(wrong.unwrap(), PasswordCheck::Wrong);
    }
    let nonsense = password("no hash");
    let broken = before
        .verify(&password("correct horse"), Some(&nonsense))
        .await;
    assert!(matches!(broken, Err(AccountError::Hash(_))), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hash_that_waits_too_long_fails_as_busy() {
    let hasher = Hasher::new(&cheap()).unwrap();
    let turn = hasher.turns.acquire().await.unwrap();
    let waiting = hasher.hash(&password("correct horse")).await;
    assert!(matches!(waiting, Err(AccountError::Busy)), "{waiting:?}");
    // A missing account waits in the same queue; otherwise it would be answered sooner.
    let nobody = hasher.verify(&password("correct horse"), None).await;
    assert!(matches!(nobody, Err(AccountError::Busy)), "{nobody:?}");
    drop(turn);
    assert!(hasher.hash(&password("correct horse")).await.is_ok());
}

#[test]
fn a_common_password_is_recognised_in_any_case() {
    for common in [
        "1qaz2wsx3edc",
        "QWERTY123456",
        "aaaabbbbcccc",
        "Administrator",
    ] {
        assert!(is_common(common), "{common}");
    }
    for other in ["correct horse battery staple", "a password of a test"] {
        assert!(!is_common(other), "{other}");
    }
    let least = *PASSWORD_CHARACTERS.start();
    for listed in COMMON_PASSWORDS.iter() {
        assert!(
            listed.len() >= least && *listed == listed.to_lowercase(),
            "{listed}"
        );
    }
}
