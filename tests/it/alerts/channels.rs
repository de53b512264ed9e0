//! All channels together, and a service that alerts over them.

use firstcome::operate::alert::{AlertConfig, Alerts};
use serde_json::json;
use tempfile::TempDir;

use super::mail::by_mail;
use super::smtp::{Answer, MailServer};
use super::webhook::Webhook;
use super::{alert, count};
use crate::service::process::Service;
use crate::stats::http::{date, sold_out};
use crate::stats::scene::Sql;
use crate::support::until;

#[tokio::test]
async fn a_channel_that_fails_does_not_stop_the_others() {
    let sent = |alerts: &Alerts| {
        ["webhook", "slack", "mail"].map(|channel| count(alerts, channel, "sent"))
    };
    for failing in 0..3 {
        let accept = |channel| channel != failing;
        let status = |channel| if accept(channel) { &[200][..] } else { &[403] };
        let answers = if accept(2) {
            &[Answer::Accept]
        } else {
            &[Answer::Refuse(550)]
        };
        let webhook = Webhook::answering(status(0)).await;
        let slack = Webhook::answering(status(1)).await;
        let mail = MailServer::answering(answers).await;
        let config = AlertConfig {
            webhook_url: Some(webhook.url.as_str().into()),
            slack_url: Some(slack.url.as_str().into()),
            ..by_mail(&format!("smtp://127.0.0.1:{}", mail.port))
        };
        let alerts = Alerts::new(&config).unwrap();
        alerts.send(&alert()).await;
        let expected = [0, 1, 2].map(|channel| u64::from(accept(channel)));
        assert_eq!(sent(&alerts), expected);
        assert_eq!((webhook.heard().len(), slack.heard().len()), (1, 1));
        assert_eq!(mail.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_aggregation_fails_alerts_over_all_channels_and_logs_no_secret() {
    let webhook = Webhook::answering(&[200]).await;
    let slack = Webhook::answering(&[403]).await;
    let mail = MailServer::answering(&[Answer::RefuseLogin, Answer::Accept]).await;
    let settings = [
        ("FIRSTCOME_AGGREGATION_ENABLED", "false".to_owned()),
        ("FIRSTCOME_ALERTS_WEBHOOK_URL", webhook.url.clone()),
        ("FIRSTCOME_ALERTS_SLACK_URL", slack.url.clone()),
        (
            "FIRSTCOME_ALERTS_SMTP_URL",
            format!("smtp://u:hush@127.0.0.1:{}", mail.port),
        ),
        ("FIRSTCOME_ALERTS_MAIL_FROM", "f@example.com".to_owned()),
        ("FIRSTCOME_ALERTS_MAIL_TO", "a@example.com".to_owned()),
    ];
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &settings).await;
    let campaign = sold_out(&service).await;
    let file = folder.path().join("data/firstcome.db");
    let sql = Sql::of(&format!("sqlite://{}", file.display())).await;
    sql.run(&format!(
        "CREATE TRIGGER refused BEFORE INSERT ON daily_stat WHEN NEW.campaign_id = {campaign} \
         BEGIN SELECT RAISE(ABORT, 'refused'); END"
    ))
    .await;
    let run = async |expected: u64| {
        let begun = service.admin(&format!("/batch/aggregate?date={}", date(0)));
        assert_eq!(begun.send().await.unwrap().status(), 202);
        until("every channel has been tried", async || {
            let text = service.metrics().await;
            let counts = text
                .lines()
                .filter(|line| line.starts_with("firstcome_alerts_total{"))
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
            counts.sum::<u64>() == expected
        })
        .await;
    };
    run(3).await;
    assert_eq!(mail.mails().len(), 0, "the log-in was refused");
    run(6).await;
    assert_eq!(webhook.heard()[0].1["alert"], json!("aggregation_failed"));
    assert_eq!((webhook.heard().len(), slack.heard().len()), (2, 2));
    let mails = mail.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text.contains("CAMPAIGNS_FAILED"), "{mails:?}");
    let log = service.log();
    assert!(log.contains("an alert was not sent"), "{log}");
    for secret in ["hush", "services/secret"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    assert!(service.stop().await.success());
}
