//! Accounts on the command line: listed, changed and disabled, with the effect on sessions.

use std::io::Write;
use std::process::{Output, Stdio};

use super::super::process::command;
use super::scene::{PASSWORD, Scene, account};

const ANOTHER: &str = "another password altogether";

/// Runs `accounts` with these arguments, as the service of the scene is configured.
pub fn accounts(scene: &Scene, arguments: &[&str], input: &str) -> Output {
    let settings = scene
        .parts
        .as_ref()
        .map_or(&[][..], |parts| parts.settings());
    let mut command = command(&scene.folder, settings);
    command
        .arg("accounts")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input.as_bytes()).ok();
    drop(pipe);
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_changed_and_disabled_on_the_command_line() {
    let scene = Scene::real(&[]).await;
    account(&scene.service, "ada", &["campaign:read"]).await;
    account(&scene.service, "bob", &[]).await;
    let said = |arguments: &[&str], input: &str| {
        let output = accounts(&scene, arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = said(&["list"], "");
    assert!(
        listed.contains("ada") && listed.contains("campaign:read"),
        "{listed}"
    );
    assert!(listed.ends_with("2 accounts\n"), "{listed}");

    let mut ada = scene.browser();
    ada.enters("ada", None).await;
    let changed = said(
        &["change", "ada", "--scope", "stats:read", "--password"],
        ANOTHER,
    );
    assert_eq!(changed, "account 1: enabled, scopes: stats:read\n");
    // Her sessions ended, and the old password opens none.
    assert_eq!(ada.get("/api/session").await.status(), 401);
    let mut ada = scene.browser();
    assert_eq!(ada.log_in("ada", PASSWORD, None).await.status(), 401);
    let answer = ada.log_in("ada", ANOTHER, None).await;
    ada.is_let_in(answer).await;

    let disabled = said(&["disable", "ada"], "");
    assert_eq!(disabled, "account 1: disabled, scopes: stats:read\n");
    assert_eq!(ada.log_in("ada", ANOTHER, None).await.status(), 401);
    said(&["enable", "ada"], "");
    assert!(said(&["change", "ada", "--no-scopes"], "").ends_with("scopes: none\n"));

    for (arguments, why) in [
        (&["change", "ada"][..], "nothing to change: use --scope"),
        (&["disable", "nobody"], "there is no account nobody"),
    ] {
        let refused = accounts(&scene, arguments, "");
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(why), "{text}");
    }
    // On embedded parts the sessions are in the process that serves.
    let embedded = Scene::embedded(&[]).await;
    account(&embedded.service, "ada", &[]).await;
    let refused = accounts(&embedded, &["disable", "ada"], "");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("/api/admin/accounts"),
        "{text}"
    );
}
