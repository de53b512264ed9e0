//! E-mail, to a server that speaks SMTP.

use std::time::Duration;

use firstcome::operate::alert::{AlertConfig, Alerts, Recipients};

use super::smtp::{Answer, MailServer};
use super::{alert, config, count};

pub fn by_mail(url: &str) -> AlertConfig {
    AlertConfig {
        smtp_url: Some(url.into()),
        mail_from: Some("Firstcome <firstcome@example.com>".to_owned()),
        mail_to: Recipients(vec![
            "one@example.com".to_owned(),
            "Two <two@example.com>".to_owned(),
        ]),
        ..config()
    }
}

async fn sent_to(server: &MailServer, url: &str) -> Alerts {
    let url = url.replace("PORT", &server.port.to_string());
    let alerts = Alerts::new(&by_mail(&url)).unwrap();
    alerts.send(&alert()).await;
    alerts
}

#[tokio::test]
async fn a_message_with_the_alert_reaches_all_recipients() {
    let server = MailServer::answering(&[Answer::Accept]).await;
    let alerts = sent_to(&server, "smtp://127.0.0.1:PORT").await;
    let mails = server.mails();
    let [mail] = &mails[..] else {
        panic!("{mails:?}");
    };
    assert_eq!(mail.from, "firstcome@example.com");
    assert_eq!(mail.to, ["one@example.com", "two@example.com"]);
    assert_eq!(mail.login, None);
    for part in [
        "From: Firstcome <firstcome@example.com>\r\n",
        "Subject: firstcome: the aggregation of a day failed\r\n",
        "Message-ID: <",
        "Date: ",
        "Content-Type: text/plain; charset=utf-8\r\n",
        &alert().text,
    ] {
        assert!(mail.text.contains(part), "no {part:?} in {}", mail.text);
    }
    assert_eq!(count(&alerts, "mail", "sent"), 1);
}

#[tokio::test]
async fn the_user_and_the_password_of_the_url_log_in() {
    let server = MailServer::answering(&[Answer::Accept]).await;
    sent_to(&server, "smtp://mailer:p%40ss@127.0.0.1:PORT").await;
    assert_eq!(server.mails()[0].login.as_deref(), Some("mailer:p@ss"));
}

#[tokio::test]
async fn a_refusal_for_now_is_retried_and_one_for_good_is_not() {
    let server = MailServer::answering(&[Answer::Refuse(451), Answer::Accept]).await;
    let alerts = sent_to(&server, "smtp://127.0.0.1:PORT").await;
    assert_eq!((server.connections(), server.mails().len()), (2, 1));
    assert_eq!(count(&alerts, "mail", "sent"), 1);

    let server = MailServer::answering(&[Answer::Refuse(550)]).await;
    let alerts = sent_to(&server, "smtp://127.0.0.1:PORT").await;
    assert_eq!((server.connections(), server.mails().len()), (1, 0));
    assert_eq!(count(&alerts, "mail", "failed"), 1);

    let server = MailServer::answering(&[Answer::RefuseLogin]).await;
    sent_to(&server, "smtp://u:p@127.0.0.1:PORT").await;
    assert_eq!((server.connections(), server.mails().len()), (1, 0));
}

#[tokio::test]
async fn attempts_at_a_server_that_refuses_for_now_are_bounded() {
    let server = MailServer::answering(&[Answer::Refuse(451)]).await;
    let alerts = sent_to(&server, "smtp://127.0.0.1:PORT").await;
    let attempts = usize::try_from(config().attempts_max).unwrap();
    assert_eq!(server.connections(), attempts);
    assert_eq!(count(&alerts, "mail", "failed"), 1);
}

#[tokio::test]
async fn a_repeated_message_has_the_same_id() {
    let server = MailServer::answering(&[Answer::CloseAfterMessage, Answer::Accept]).await;
    sent_to(&server, "smtp://127.0.0.1:PORT").await;
    let ids: Vec<String> = server
        .mails()
        .iter()
        .map(|mail| {
            let mut lines = mail.text.lines();
            let id = lines.find(|line| line.starts_with("Message-ID: "));
            id.unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_silent_server_holds_an_attempt_for_no_longer_than_its_limit() {
    let server = MailServer::answering(&[Answer::Silence]).await;
    let config = AlertConfig {
        smtp_timeout: Duration::from_millis(100),
        ..by_mail(&format!("smtp://127.0.0.1:{}", server.port))
    };
    let alerts = Alerts::new(&config).unwrap();
    let sending = tokio::time::timeout(Duration::from_secs(20), async {
        alerts.send(&alert()).await;
    });
    sending.await.unwrap();
    assert_eq!(server.connections(), 3);
    assert_eq!(count(&alerts, "mail", "failed"), 1);
}

#[tokio::test]
async fn nothing_is_sent_in_plain_text_where_tls_is_required() {
    let server = MailServer::answering(&[Answer::Accept]).await;
    let alerts = sent_to(&server, "smtp://u:p@127.0.0.1:PORT?tls=required").await;
    assert_eq!(server.mails().len(), 0);
    assert_eq!(count(&alerts, "mail", "failed"), 1);
}
