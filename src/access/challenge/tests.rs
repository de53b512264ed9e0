use super::*;

const SECRET: &str = "a secret of a test, which has more than 32 bytes";
const OTHER: &str = "another secret of a test, just as long as the first";
const CAMPAIGN: CampaignId = CampaignId(7);
const USER: UserId = UserId(42);
const NOW: i64 = 1_900_000_000;

fn signed(secret: &str, claims: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, claims.as_bytes());
    let hex: Vec<String> = signature
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{claims}.{}", hex.concat())
}

fn challenge(secrets: &[&str]) -> Challenge {
    let lifetime_max = Duration::from_secs(600);
    Challenge::new(Required::All, secrets.iter().copied(), lifetime_max).unwrap()
}

fn admitted(challenge: &Challenge, token: &str) -> Result<(), ChallengeError> {
    let now = chrono::DateTime::from_timestamp(NOW, 0).unwrap();
    challenge.admit(CAMPAIGN, USER, Some(token), now)
}

#[test]
fn a_challenge_token_is_bound_to_its_user_campaign_and_time() {
    let challenge = challenge(&[SECRET]);
    for (claims, admits) in [
        ("fc1.7.42.1900000001.n", Ok(())),
        ("fc1.7.42.1900000600.A-z_0", Ok(())),
        ("fc1.7.42.1900000000.n", Err(ChallengeError::Expired)),
        ("fc1.7.42.1900000601.n", Err(ChallengeError::TooLong)),
        (
            "fc1.7.42.9223372036854775807.n",
            Err(ChallengeError::TooLong),
        ),
        ("fc1.8.42.1900000100.n", Err(ChallengeError::Campaign)),
        ("fc1.7.43.1900000100.n", Err(ChallengeError::User)),
        ("fc2.7.42.1900000100.n", Err(ChallengeError::Malformed)),
        ("fc1.7.42.1900000100.", Err(ChallengeError::Malformed)),
        ("fc1.7.42.1900000100", Err(ChallengeError::Malformed)),
        ("fc1.7.42.1900000100.n.n", Err(ChallengeError::Malformed)),
        ("fc1.07.42.1900000100.n", Err(ChallengeError::Malformed)),
        ("fc1.7.+42.1900000100.n", Err(ChallengeError::Malformed)),
        (
            "fc1.7.42.99999999999999999999.n",
            Err(ChallengeError::Malformed),
        ),
    ] {
        assert_eq!(
            admitted(&challenge, &signed(SECRET, claims)),
            admits,
            "{claims}"
        );
    }
}

#[test]
fn only_tokens_signed_with_a_configured_secret_are_accepted() {
    let good = signed(SECRET, "fc1.7.42.1900000100.n");
    let changed = good.replacen("n.", "m.", 1);
    let upper = format!(
        "{}{}",
        &good[..good.len() - 64],
        good[good.len() - 64..].to_uppercase()
    );
    let both = challenge(&[SECRET, OTHER]);
    assert_eq!(admitted(&both, &good), Ok(()));
    let others = signed(OTHER, "fc1.7.42.1900000100.n");
    assert_eq!(admitted(&both, &others), Ok(()), "while secrets change");
    let one = challenge(&[SECRET]);
    for (token, why) in [
        (others.as_str(), ChallengeError::Signature),
        (&changed, ChallengeError::Signature),
        (&good[..good.len() - 1], ChallengeError::Malformed),
        (&upper, ChallengeError::Malformed),
        ("fc1.7.42.1900000100.n.", ChallengeError::Malformed),
        ("", ChallengeError::Malformed),
    ] {
        assert_eq!(admitted(&one, token), Err(why), "{token}");
    }
    assert_eq!(
        admitted(&challenge(&[]), &good),
        Err(ChallengeError::Signature)
    );
}

#[test]
fn only_campaigns_with_a_challenge_require_a_token() {
    let required = Required::parse("3, 7").unwrap();
    let challenge = Challenge::new(required, [SECRET], Duration::from_secs(60)).unwrap();
    let now = chrono::DateTime::from_timestamp(NOW, 0).unwrap();
    let missing = challenge.admit(CAMPAIGN, USER, None, now);
    assert_eq!(missing, Err(ChallengeError::Missing));
    assert_eq!(challenge.admit(CampaignId(8), USER, None, now), Ok(()));
    assert_eq!(Required::parse("off"), Ok(Required::Off));
    assert_eq!(Required::parse("all"), Ok(Required::All));
    for text in ["", "none", "1,,2", "0", "-1", "1;2"] {
        assert!(Required::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_generated_secret_is_long_and_not_printed() {
    let lifetime = Duration::from_secs(60);
    let weak = Challenge::new(Required::All, ["short"], lifetime).err();
    assert_eq!(weak, Some(WeakSecret));
    assert!(!format!("{:?}", challenge(&[SECRET])).contains("secret"));
}
