//! Sets the clock of a spare part: a library loaded into it adds seconds to its wall clock (`clock.c`). Its monotonic clock
//! stays, as on a machine.

use std::process::Command;

use tempfile::TempDir;

use crate::spare::Spare;

/// The files of a part whose clock can be set, for the option `--files` of `scripts/parts spare up`.
pub fn files() -> TempDir {
    let files = TempDir::new().unwrap();
    let library = files.path().join("preload.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sale/clock.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]);
    let ended = compiler.arg(&library).arg(source).status().unwrap();
    assert!(ended.success(), "cc: {ended}");
    std::fs::write(files.path().join("offset"), "0").unwrap();
    files
}

/// Sets the clock of a part to the true time plus this offset. The caller asserts that it shows: [`assert_is`].
pub async fn set(part: &Spare, offset_seconds: i64) {
    let file = format!("/data/spare-{}/files/offset", part.name());
    let line = format!("echo {offset_seconds} > {file}");
    part.exec(&["sh", "-c", &line]).await;
}

/// The time of a part, in seconds since 1970, must be the true one plus this offset.
pub fn assert_is(offset_seconds: i64, found: i64) {
    let true_time = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let found = found - i64::try_from(true_time).unwrap();
    assert!((found - offset_seconds).abs() < 10, "{found} s");
}
