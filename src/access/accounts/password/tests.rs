use super::*;

/// The least that argon2 takes: what is tested here does not depend on it.
const LITTLE: Passwords = Passwords {
    memory_kib: 8,
    iterations: 1,
    lanes: 1,
    at_once_max: 1,
    wait_max: Duration::from_secs(10),
};

fn password(text: &str) -> SecretString {
    text.to_owned().into()
}

#[tokio::test]
async fn only_the_correct_password_is_accepted() {
    let hasher = Hasher::new(LITTLE).unwrap();
    let kept = hasher.hash(&password("correct horse")).await.unwrap();
    let again = hasher.hash(&password("correct horse")).await.unwrap();
    let text = kept.expose_secret();
    assert!(text.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{text}");
    assert_ne!(text, again.expose_secret(), "each has a salt of its own");
    for (said, verdict) in [
        ("correct horse", Verdict::Right),
        ("Correct horse", Verdict::Wrong),
        ("correct horse ", Verdict::Wrong),
        ("", Verdict::Wrong),
    ] {
        let found = hasher.verify(&password(said), Some(&kept)).await.unwrap();
        assert_eq!(found, verdict, "{said:?}");
    }
}

#[tokio::test]
async fn no_password_matches_an_unknown_account() {
    let hasher = Hasher::new(LITTLE).unwrap();
    for said in [NOBODY, "another"] {
        let found = hasher.verify(&password(said), None).await.unwrap();
        assert_eq!(found, Verdict::Wrong);
    }
}

#[tokio::test]
async fn hashes_with_other_parameters_are_outdated() {
    let before = Hasher::new(LITTLE).unwrap();
    let kept = before.hash(&password("correct horse")).await.unwrap();
    for changed in [
        Passwords {
            memory_kib: 16,
            ..LITTLE
        },
        Passwords {
            iterations: 2,
            ..LITTLE
        },
    ] {
        let now = Hasher::new(changed).unwrap();
        let verdict = now.verify(&password("correct horse"), Some(&kept)).await;
        assert_eq!(verdict.unwrap(), Verdict::Outdated);
        let wrong = now.verify(&password("wrong"), Some(&kept)).await;
        assert_eq!(wrong.unwrap(), Verdict::Wrong);
    }
    let nonsense = password("no hash");
    let broken = before
        .verify(&password("correct horse"), Some(&nonsense))
        .await;
    assert!(matches!(broken, Err(AccountError::Hash(_))), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hash_that_waits_too_long_fails_as_busy() {
    let hasher = Hasher::new(LITTLE).unwrap();
    let turn = hasher.turns.acquire().await.unwrap();
    let waiting = hasher.hash(&password("correct horse")).await;
    assert!(matches!(waiting, Err(AccountError::Busy)), "{waiting:?}");
    // Nobody's password stands in the same line, or who is nobody would be answered sooner.
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
