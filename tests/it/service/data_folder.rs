//! The data folder of the embedded parts: used by one process at a time, and readable only by its owner.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use super::process::{Service, command};

async fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = command(folder, &[]);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    let mut service = Service::start(&folder, &[]).await;
    let place = folder.path().join("data");
    let said = format!(
        "firstcome: the data folder {} is in use by another firstcome (process {}): \
         stop it, or set FIRSTCOME_DATA_DIR\n",
        place.display(),
        service.pid()
    );
    for command in ["serve", "migrate"] {
        let refused = run(&folder, &[command]).await;
        assert_eq!(refused.status.code(), Some(1), "{command}: {refused:?}");
        assert_eq!(
            String::from_utf8(refused.stderr).unwrap(),
            said,
            "{command}"
        );
    }
    // Commands that only read, or change rows, may run beside it.
    for command in [&["verify"][..], &["dead-letters", "list"]] {
        let done = run(&folder, command).await;
        assert!(done.status.success(), "{command:?}: {done:?}");
    }
    // The lock ends with the process, at any end.
    service.kill();
    let migrated = run(&folder, &["migrate"]).await;
    assert!(migrated.status.success(), "{migrated:?}");
    Service::start(&folder, &[]).await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_can_read_the_data_folder() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start(&folder, &[]).await;
    let closed = |when: &str| {
        assert_eq!(mode(&data), 0o700, "{when}");
        let names = files(&data);
        for name in &names {
            assert_eq!(mode(&data.join(name)), 0o600, "{name} {when}");
        }
        names
    };
    let names = closed("when it is new");
    for name in [
        "firstcome.db",
        "firstcome.db-shm",
        "firstcome.db-wal",
        "lock",
        "rewards.db",
        "rewards.db-shm",
        "rewards.db-wal",
    ] {
        assert!(names.iter().any(|it| it == name), "{name} in {names:?}");
    }
    // A killed process leaves its files, and the permissions were widened meanwhile.
    service.kill();
    fs::write(data.join("admin-token"), "a token that was made before").unwrap();
    for name in files(&data) {
        fs::set_permissions(data.join(name), Permissions::from_mode(0o666)).unwrap();
    }
    fs::set_permissions(&data, Permissions::from_mode(0o777)).unwrap();
    let service = Service::start(&folder, &[]).await;
    let names = closed("when it was open to others");
    assert!(names.contains(&"admin-token".to_owned()), "{names:?}");
    drop(service);
}
