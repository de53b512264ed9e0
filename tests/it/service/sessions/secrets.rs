//! Secrets appear nowhere except in the response to their owner.

use redis::AsyncTypedCommands;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};

use super::scene::{PASSWORD, Scene, account, campaign};
use crate::gate::redis_connection;

/// Everything under a prefix in Redis, as text.
async fn all_of_redis(prefix: &str) -> String {
    let mut redis = redis_connection().await;
    let mut found = redis
        .scan_match::<_, String>(format!("{prefix}:*"))
        .await
        .unwrap();
    let mut keys = Vec::new();
    while let Some(key) = found.next_item().await {
        keys.push(key.unwrap());
    }
    drop(found);
    let mut texts = Vec::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        let text = match kind.as_str() {
            "hash" => format!("{:?}", redis.hgetall(&key).await.unwrap()),
            "zset" => format!("{:?}", redis.zrange(&key, 0, -1).await.unwrap()),
            _ => format!("{:?}", redis.get(&key).await.unwrap()),
        };
        texts.push(format!("{key} {text}"));
    }
    texts.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_in_redis_or_in_the_database() {
    let more = [
        ("FIRSTCOME_LOG_FILTER", "trace"),
        ("FIRSTCOME_ACCOUNTS_REMEMBER_GRACE", "0s"),
    ];
    let mut scene = Scene::real(&more).await;
    let (prefix, url) = {
        let parts = scene.parts.as_ref().unwrap();
        (parts.prefix.clone(), parts.test.url.clone())
    };
    let campaign = campaign(&scene.service).await;
    account(&scene.service, "ada.lovelace@example.org", &[]).await;
    let mut browser = scene.browser();
    browser.enters("Ada.Lovelace@example.org", Some(true)).await;
    let mut cookies: Vec<String> = browser.cookies.values().cloned().collect();
    assert_eq!(browser.takes_part(campaign).await.status(), 201);
    let answer = browser.resume().await;
    browser.is_let_in(answer).await;
    cookies.extend(browser.cookies.values().cloned());
    assert_eq!(
        browser
            .log_in("ada.lovelace@example.org", "a wrong password", None)
            .await
            .status(),
        401
    );
    let kept = all_of_redis(&prefix).await;
    assert!(
        kept.contains(":sessions") && kept.contains(":series"),
        "{kept}"
    );
    assert!(
        kept.contains("limit:login_name:"),
        "what is looked for would be there"
    );
    let db = Database::connect(&url).await.unwrap();
    let sql = "SELECT password_hash FROM account";
    let row = db
        .query_one_raw(Statement::from_string(DbBackend::MySql, sql))
        .await;
    let hash: String = row.unwrap().unwrap().try_get_by_index(0).unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    let csrf = browser.csrf.clone();
    assert!(scene.service.stop().await.success());
    let log = scene.service.log();
    assert!(log.contains("TRACE"), "all is logged that could be");

    let parts = cookies.iter().flat_map(|cookie| cookie.split('.').skip(1));
    let mut secrets: Vec<&str> = parts.collect();
    assert_eq!(secrets.len(), 6, "{cookies:?}");
    secrets.extend([csrf.as_str(), PASSWORD, "a wrong password"]);
    for secret in secrets {
        assert!(!log.contains(secret), "a secret is in the log");
        assert!(!kept.contains(secret), "a secret is in Redis");
        assert!(!hash.contains(secret));
    }
    assert!(
        !kept.to_lowercase().contains("lovelace"),
        "nobody is named in Redis"
    );
    let named: Vec<_> = log
        .lines()
        .filter(|line| line.to_lowercase().contains("lovelace"))
        .collect();
    assert!(
        named.is_empty(),
        "somebody is named in the log: {:?}",
        named.first()
    );
}
