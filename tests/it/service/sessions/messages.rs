//! Messages to the owners of login names: the program that sends them, and their limits.

use std::sync::{Arc, Mutex};

use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::scene::{PASSWORD, Scene, account, refused, said};
use super::sign_up::wish;
use crate::support::{until, waits_for_a_lock};

pub const FORGOT: &str = "/api/session/forgot-password";

/// Settings for sign-ups that need a token, which is posted to this address.
pub fn verified(address: &str) -> [(&'static str, &str); 2] {
    [
        ("FIRSTCOME_ACCOUNTS_SIGN_UP", "verified"),
        ("FIRSTCOME_ACCOUNTS_VERIFY_URL", address),
    ]
}

/// A program that sends e-mails: it stores what it receives.
#[derive(Clone, Default)]
pub struct Mailer(Arc<Mutex<Vec<Value>>>);

impl Mailer {
    pub async fn start() -> (Self, String) {
        let mailer = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/mail", listener.local_addr().unwrap());
        let kept = mailer.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut text = String::new();
                    let mut bytes = [0; 4_096];
                    // The head, and a body that is one JSON document.
                    loop {
                        let read = stream.read(&mut bytes).await.unwrap_or(0);
                        if read == 0 {
                            return;
                        }
                        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
                        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
                        if let Some(mail) = body.and_then(|body| serde_json::from_str(body).ok()) {
                            kept.0.lock().unwrap().push(mail);
                            break;
                        }
                    }
                    let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                    stream.write_all(answer.as_bytes()).await.ok();
                });
            }
        });
        (mailer, address)
    }

    /// The mail of this number, from 0.
    pub async fn mail(&self, number: usize) -> Value {
        until("the mail has come", async || self.mails() > number).await;
        self.0.lock().unwrap()[number].clone()
    }

    /// The number of mails.
    pub fn mails(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_login_name_gets_five_messages_about_sign_ups_in_an_hour() {
    let (mailer, address) = Mailer::start().await;
    let scenes = Scene::all(&verified(&address)).await;
    let browser = scenes[0].browser();
    for _ in 0..7 {
        let asked = wish("Ada@example.org", PASSWORD);
        let asked = browser.post("/api/accounts", &asked).await;
        assert_eq!(asked.status(), 202);
    }
    let other = wish("bob@example.org", PASSWORD);
    assert_eq!(browser.post("/api/accounts", &other).await.status(), 202);
    let mut logins = Vec::new();
    for nth in 0..6 {
        logins.push(mailer.mail(nth).await["login"].clone());
    }
    let others = logins.iter().filter(|login| *login == "bob@example.org");
    assert_eq!(others.count(), 1, "{logins:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_response_waits_until_a_token_is_stored() {
    let (mailer, address) = Mailer::start().await;
    let scene = Scene::real(&verified(&address)).await;
    account(&scene.service, "ada", &[]).await;
    let browser = scene.browser();
    let test = &scene.parts.as_ref().unwrap().test;
    let elsewhere = Database::connect(&test.url).await.unwrap();
    let sign_up = ("/api/accounts", wish("bob", PASSWORD), 202);
    let forgot = (FORGOT, json!({ "login": "ada" }), 204);
    for (nth, (path, asked, status)) in [sign_up, forgot].into_iter().enumerate() {
        // No token can be stored.
        let stall = elsewhere.begin().await.unwrap();
        let lock = "SELECT digest FROM account_token FOR UPDATE";
        stall.execute_unprepared(lock).await.unwrap();
        let answer = browser.post(path, &asked).await;
        assert_eq!(answer.status(), status, "{path}");
        until("a token waits", async || {
            waits_for_a_lock(test, "account_token").await
        })
        .await;
        stall.rollback().await.unwrap();
        assert_eq!(mailer.mail(nth).await["login"], asked["login"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_64_messages_are_in_progress_further_requests_get_503() {
    // It accepts no connection.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/mail", silent.local_addr().unwrap());
    let settings = [
        ("FIRSTCOME_ACCOUNTS_VERIFY_URL", address.as_str()),
        ("FIRSTCOME_ACCOUNTS_VERIFY_TIMEOUT", "1m"),
        ("FIRSTCOME_ACCOUNTS_SIGN_UP_RATE_ADDRESS", "1000/1s"),
    ];
    let scene = Scene::embedded(&settings).await;
    let browser = scene.browser();
    // One login name gets at most five messages.
    for message in 0..64 {
        let login = format!("user-{}", message / 5);
        if message % 5 == 0 {
            account(&scene.service, &login, &[]).await;
        }
        let asked = browser.post(FORGOT, &json!({ "login": login })).await;
        assert_eq!(asked.status(), 204, "{message}");
    }
    let asked = browser.post(FORGOT, &json!({ "login": "nobody" })).await;
    assert!(asked.headers().contains_key("retry-after"));
    assert_eq!(said(asked).await, refused(503, "BUSY"));
}
