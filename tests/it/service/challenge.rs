//! Challenge tokens over HTTP: a participation without a valid token of its user is rejected.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Service, body, command};

const SECRET: &str = "the secret that a waiting room shares with the service";
const PREVIOUS: &str = "the secret that it shared with the service until now";
const CAMPAIGN: i64 = 2;

fn settings(required: &str) -> Vec<(&'static str, String)> {
    vec![
        ("FIRSTCOME_CHALLENGE_REQUIRED", required.to_owned()),
        ("FIRSTCOME_CHALLENGE_SECRET", SECRET.to_owned()),
        ("FIRSTCOME_CHALLENGE_PREVIOUS_SECRET", PREVIOUS.to_owned()),
        ("FIRSTCOME_CHALLENGE_LIFETIME_MAX", "5m".to_owned()),
    ]
}

/// A token that expires in this number of seconds.
fn token(secret: &str, campaign: i64, user: i64, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expires = i64::try_from(now.as_secs()).unwrap() + seconds;
    let said = format!("fc1.{campaign}.{user}.{expires}.a-nonce");
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, said.as_bytes());
    let hex: Vec<String> = signature
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{said}.{}", hex.concat())
}

async fn ask(service: &Service, way: &str, user: i64, tokens: &[&str]) -> (u16, Value) {
    let path = format!("/api/campaigns/{CAMPAIGN}/{way}");
    let mut request = service.post(&path).json(&json!({ "userId": user }));
    for token in tokens {
        request = request.header("X-Challenge-Token", *token);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), body(answer).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_valid_only_for_its_own_user_on_both_paths() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &settings(&CAMPAIGN.to_string())).await;
    let limited = json!({ "name": "guarded", "totalStock": 9, "kind": "general" });
    assert_eq!(service.create(limited).await, CAMPAIGN);
    for (user, way) in [(7, "participation"), (8, "participation-sync")] {
        let good = token(SECRET, CAMPAIGN, user, 100);
        let changed = good.replace("a-nonce", "b-nonce");
        let (status, problem) = ask(&service, way, user, &[]).await;
        assert_eq!(
            (status, &problem["code"]),
            (403, &json!("CHALLENGE_REQUIRED")),
            "{way}"
        );
        let forger = "a secret that nobody shares with anybody at all";
        for (tokens, detail) in [
            (vec![token(forger, CAMPAIGN, user, 100)], "signed"),
            (vec![changed], "signed"),
            (vec![token(SECRET, CAMPAIGN, user, -1)], "expired"),
            (vec![token(SECRET, CAMPAIGN, user, 400)], "longer"),
            (
                vec![token(SECRET, CAMPAIGN, user + 10, 100)],
                "another user",
            ),
            (vec![token(SECRET, 1, user, 100)], "another campaign"),
            (vec!["a token".to_owned()], "form"),
            (vec![good.clone(), good.clone()], "form"),
        ] {
            let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
            let (status, problem) = ask(&service, way, user, &tokens).await;
            assert_eq!(
                (status, &problem["code"]),
                (403, &json!("CHALLENGE_FAILED")),
                "{detail}"
            );
            let told = problem["detail"].as_str().unwrap();
            assert!(told.contains(detail), "{told} should say {detail}");
        }
        let stock = service
            .get(&format!("/api/campaigns/{CAMPAIGN}/stock"))
            .send()
            .await;
        let taken = if user == 7 { 9 } else { 8 };
        assert_eq!(
            body(stock.unwrap()).await["currentStock"],
            taken,
            "nothing was taken"
        );
        assert_eq!(ask(&service, way, user, &[&good]).await.0, 201, "{way}");
    }
    let previous = token(PREVIOUS, CAMPAIGN, 9, 100);
    assert_eq!(ask(&service, "participation", 9, &[&previous]).await.0, 201);
    // The other campaign requires none.
    assert_eq!(service.take_part(1, 7).await.status(), 201);
    assert!(!service.log().contains(SECRET));
}

/// Otherwise bots without a token could use up the rate of those with one.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_token_does_not_use_the_rate_of_the_campaign() {
    let folder = TempDir::new().unwrap();
    let mut settings = settings("all");
    settings.push(("FIRSTCOME_LIMITS_CAMPAIGN", "2/1h".to_owned()));
    settings.push(("FIRSTCOME_LIMITS_USER", "1/1h".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let guarded = json!({ "name": "guarded", "kind": "general" });
    assert_eq!(service.create(guarded).await, CAMPAIGN);
    for way in ["participation", "participation-sync"] {
        for user in 100..110 {
            let (status, _) = ask(&service, way, user, &[]).await;
            let wanted = if way == "participation" { 403 } else { 429 };
            assert_eq!(status, wanted, "{way}: the user's own rate counts");
        }
    }
    let mut statuses = Vec::new();
    for user in 7..10 {
        let own = token(SECRET, CAMPAIGN, user, 100);
        let (status, problem) = ask(&service, "participation", user, &[&own]).await;
        statuses.push((status, problem["limit"].clone()));
    }
    let campaign = json!("campaign");
    let none = Value::Null;
    assert_eq!(
        statuses,
        [(201, none.clone()), (201, none), (429, campaign)]
    );
}

/// The example in the documentation is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_in_the_documentation_makes_valid_tokens() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &settings("all")).await;
    let guarded = json!({ "name": "guarded", "kind": "general" });
    assert_eq!(service.create(guarded).await, CAMPAIGN);
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/authentication.md");
    let document = fs::read_to_string(document).unwrap();
    let (_, program) = document.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let program = format!("{program}\nprint(challenge_token({SECRET:?}, {CAMPAIGN}, 42))\n");
    let ran = Command::new("python3")
        .args(["-c", &program])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let token = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(
        ask(&service, "participation", 43, &[token.trim()]).await.0,
        403
    );
    assert_eq!(
        ask(&service, "participation", 42, &[token.trim()]).await.0,
        201
    );
}

#[tokio::test]
async fn contradictory_settings_are_named_at_start() {
    let folder = TempDir::new().unwrap();
    for (given, mistake) in [
        (
            vec![("FIRSTCOME_CHALLENGE_REQUIRED", "all")],
            "challenge.secret: is needed",
        ),
        (
            vec![("FIRSTCOME_CHALLENGE_SECRET", SECRET)],
            "challenge.secret: is used only if",
        ),
        (
            vec![("FIRSTCOME_CHALLENGE_REQUIRED", "some")],
            "challenge.required: must be off",
        ),
        (
            vec![
                ("FIRSTCOME_CHALLENGE_REQUIRED", "3"),
                ("FIRSTCOME_CHALLENGE_SECRET", "short"),
            ],
            "must have at least 32 bytes",
        ),
    ] {
        let given: Vec<_> = given
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        let ran = command(&folder, &given).arg("serve").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains(mistake), "{said}");
    }
}
