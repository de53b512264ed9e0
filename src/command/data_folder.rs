//! The folder of the embedded parts: one process at a time works in it, and nobody else on the machine reads
//! it. What is in the files is not its business.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::config::{Config, TOKEN_CHARACTERS_MIN, is_strong};

/// The database of the events, and that of the rewards.
pub(super) const EVENTS: &str = "firstcome.db";
pub(super) const REWARDS: &str = "rewards.db";
/// The admin token that was made at the first start.
const TOKEN: &str = "admin-token";
/// Locked by the process that works in the folder, whose number is in it.
const LOCK: &str = "lock";
/// What `SQLite` keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Permissions of everybody but the owner.
const OTHERS: u32 = 0o077;
/// A folder that many share, as `/tmp` is.
const STICKY: u32 = 0o1000;

/// The right to work in a data folder, which ends with the process that has it.
#[derive(Debug)]
#[must_use = "another process may work in the folder once this is dropped"]
pub(super) struct Hold(#[expect(dead_code, reason = "its lock is held while it is open")] File);

/// Takes the data folder for this process alone; none: the configuration keeps nothing in one. An error where
/// another process works in it.
pub(super) fn hold(config: &Config) -> anyhow::Result<Option<Hold>> {
    let folder = &config.data.dir;
    match try_hold(config)? {
        Some(Held::Here(hold)) => Ok(Some(hold)),
        Some(Held::Elsewhere(pid)) => {
            let by = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            bail!(
                "the data folder {} is in use by another firstcome{by}: stop it, or set FIRSTCOME_DATA_DIR",
                folder.display()
            )
        }
        None => Ok(None),
    }
}

/// Who works in a data folder.
#[derive(Debug)]
pub(super) enum Held {
    Here(Hold),
    /// Another process; its number, where it can be read.
    Elsewhere(Option<u32>),
}

/// Takes the data folder unless another process has it.
pub(super) fn try_hold(config: &Config) -> anyhow::Result<Option<Held>> {
    if config.database.url.is_some() {
        return Ok(None);
    }
    let file = file(config, LOCK)?;
    let held = lock(&file).with_context(|| format!("cannot lock {}", file.display()))?;
    Ok(Some(held))
}

fn lock(file: &Path) -> io::Result<Held> {
    let mut file = private(OpenOptions::new().read(true).write(true).create(true)).open(file)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            Ok(Held::Here(Hold(file)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            Ok(Held::Elsewhere(pid.parse().ok()))
        }
        Err(TryLockError::Error(failure)) => Err(failure),
    }
}

/// A database in the data folder, which is there from now on and nobody else's to read. What `SQLite` makes
/// beside it has the same permissions.
pub(super) fn database(config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let database = file(config, name)?;
    // One that is there is not opened: to close it would end the locks that `SQLite` has on it in this process.
    match private(OpenOptions::new().write(true).create_new(true)).open(&database) {
        Err(failure) if failure.kind() != ErrorKind::AlreadyExists => {
            Err(failure).with_context(|| format!("cannot make {}", database.display()))
        }
        _ => Ok(database),
    }
}

/// The admin token that is kept in the data folder; made, if there is none.
pub(super) fn admin_token(config: &Config) -> anyhow::Result<String> {
    let file = file(config, TOKEN)?;
    if let Ok(token) = fs::read_to_string(&file) {
        let token = token.trim();
        ensure!(
            is_strong(token),
            "{} has no admin token of at least {TOKEN_CHARACTERS_MIN} characters: delete the file to get a new one",
            file.display()
        );
        return Ok(token.to_owned());
    }
    let token = uuid::Uuid::new_v4().simple().to_string();
    private(OpenOptions::new().write(true).create_new(true))
        .open(&file)
        .and_then(|mut file| file.write_all(token.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(token)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(FILE_MODE)
}

/// Where a file of this name is, in a folder that is there from now on and, with what is in it, for its owner
/// alone.
fn file(config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let folder = &config.data.dir;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder);
    made.with_context(|| {
        format!(
            "cannot make the data folder {} (set FIRSTCOME_DATA_DIR)",
            folder.display()
        )
    })?;
    close_to_others(folder);
    Ok(folder.join(name))
}

/// Takes others' permissions off the folder and what is ours in it: it may have been there before, or come
/// from elsewhere.
fn close_to_others(folder: &Path) {
    let beside = |database: &str| BESIDE.map(|end| format!("{database}{end}"));
    let mut names = vec![
        EVENTS.to_owned(),
        REWARDS.to_owned(),
        TOKEN.to_owned(),
        LOCK.to_owned(),
    ];
    names.extend([EVENTS, REWARDS].into_iter().flat_map(beside));
    let files = names.into_iter().map(|name| folder.join(name));
    let paths = [folder.to_owned()].into_iter().chain(files);
    for path in paths {
        if let Err(failure) = close(&path) {
            // A volume may belong to somebody else; the files made in it are ours all the same.
            let path = path.display();
            tracing::warn!(%path, %failure, "others may read what is in the data folder");
        }
    }
}

fn close(path: &Path) -> io::Result<()> {
    // Nothing that is linked to is changed: it need not be ours.
    let found = match fs::symlink_metadata(path) {
        Err(failure) if failure.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let mode = found.mode();
    if found.is_symlink() || mode & OTHERS == 0 || mode & STICKY != 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode & 0o777 & !OTHERS)) {
        // SQLite may have removed what it kept beside a database.
        Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
