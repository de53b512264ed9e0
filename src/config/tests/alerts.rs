//! The settings of alerts.

use super::*;

#[test]
fn all_errors_in_the_settings_of_mail_are_named_and_no_password_is_repeated() {
    let url = |url| ("FIRSTCOME_ALERTS_SMTP_URL", url);
    let from = ("FIRSTCOME_ALERTS_MAIL_FROM", "Firstcome <f@example.com>");
    let to = (
        "FIRSTCOME_ALERTS_MAIL_TO",
        "a@example.com, B C <b@example.com>",
    );
    for right in [
        "smtp://mail.example",
        "smtp://127.0.0.1:2525",
        "smtp://u:hush@127.0.0.1:2525",
        "smtp://u:hush@[::1]",
        "smtp://u:hush@localhost",
        "smtp://u:hush@mail.example:587?tls=required",
        "smtps://u:hush@mail.example",
    ] {
        let config = load(&[url(right), from, to]).unwrap();
        assert_eq!(config.alerts.mail_to.0.len(), 2, "{right}");
    }
    for wrong in [
        "mail.example",
        "http://mail.example",
        "smtp:",
        "smtp://u:hush@mail.example",
        "smtp://u:hush@mail.example?tls=opportunistic",
        "smtps://u@mail.example",
        "smtps://u:hush@mail.example?ssl=1",
        "smtp://mail.example?tls=hush",
    ] {
        let mistakes = rejected(&[url(wrong), from, to]);
        assert!(
            matches!(&mistakes[..], [one] if one.starts_with("alerts.smtp_url: ") && !one.contains("hush")),
            "{wrong}: {mistakes:?}"
        );
    }
    let server = url("smtp://mail.example");
    for (variables, key) in [
        ([server, to].as_slice(), "alerts.mail_from: "),
        (&[server, from], "alerts.mail_to: "),
        (
            &[server, from, (to.0, "a@example.com, b")],
            "alerts.mail_to: ",
        ),
        (&[server, (from.0, "f@"), to], "alerts.mail_from: "),
    ] {
        let mistakes = rejected(variables);
        assert!(
            matches!(&mistakes[..], [one] if one.starts_with(key)),
            "{key}: {mistakes:?}"
        );
    }
}
