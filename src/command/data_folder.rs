//! The data folder of the embedded parts. It ensures that one process at a time uses the folder, and that only its owner
//! can read it. It does not know the content of the files.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::config::{Config, TOKEN_CHARACTERS_MIN, is_strong};

/// The files of the events' database and of the rewards database.
pub(super) const EVENTS: &str = "firstcome.db";
pub(super) const REWARDS: &str = "rewards.db";
/// The file of the admin token that is generated at the first start.
const TOKEN: &str = "admin-token";
/// The file that the process using the folder locks; it contains the process id.
const LOCK: &str = "lock";
/// Suffixes of the files that `SQLite` creates beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Permissions of everybody except the owner.
const OTHERS: u32 = 0o077;
/// The sticky bit of a shared folder such as `/tmp`.
const STICKY: u32 = 0o1000;

/// The lock of the data folder, released when dropped.
#[derive(Debug)]
#[must_use = "another process may use the folder once this is dropped"]
pub(super) struct FolderLock(
    #[expect(dead_code, reason = "its lock is held while it is open")] File,
);

/// Locks the data folder for this process; none: the configuration does not use it. An error if another process uses it.
pub(super) fn acquire(config: &Config) -> anyhow::Result<Option<FolderLock>> {
    let folder = &config.data.dir;
    match try_acquire(config)? {
        Some(LockAttempt::Acquired(lock)) => Ok(Some(lock)),
        Some(LockAttempt::InUse(pid)) => {
            let by = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            bail!(
                "the data folder {} is in use by another firstcome{by}: stop it, or set FIRSTCOME_DATA_DIR",
                folder.display()
            )
        }
        None => Ok(None),
    }
}

/// The result of locking the data folder.
#[derive(Debug)]
pub(super) enum LockAttempt {
    Acquired(FolderLock),
    /// Another process uses it; its id, if it can be read.
    InUse(Option<u32>),
}

/// Locks the data folder, unless another process uses it.
pub(super) fn try_acquire(config: &Config) -> anyhow::Result<Option<LockAttempt>> {
    if config.database.url.is_some() {
        return Ok(None);
    }
    let file = file(config, LOCK)?;
    let attempt = lock(&file).with_context(|| format!("cannot lock {}", file.display()))?;
    Ok(Some(attempt))
}

fn lock(file: &Path) -> io::Result<LockAttempt> {
    let mut file = private(OpenOptions::new().read(true).write(true).create(true)).open(file)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())?;
            Ok(LockAttempt::Acquired(FolderLock(file)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            Ok(LockAttempt::InUse(pid.parse().ok()))
        }
        Err(TryLockError::Error(failure)) => Err(failure),
    }
}

/// The path of a database in the data folder. Creates the file, readable only by its owner; the files that `SQLite`
/// creates beside it get the same permissions.
pub(super) fn database(config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let database = file(config, name)?;
    // An existing file is not opened: closing it would release the locks that `SQLite` has on it in this process.
    match private(OpenOptions::new().write(true).create_new(true)).open(&database) {
        Err(failure) if failure.kind() != ErrorKind::AlreadyExists => {
            Err(failure).with_context(|| format!("cannot create {}", database.display()))
        }
        _ => Ok(database),
    }
}

/// The admin token in the data folder; generated if there is none.
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

/// The path of a file in the data folder. Creates the folder, and restricts it and its files to their owner.
fn file(config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let folder = &config.data.dir;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder);
    made.with_context(|| {
        format!(
            "cannot create the data folder {} (set FIRSTCOME_DATA_DIR)",
            folder.display()
        )
    })?;
    restrict_to_owner(folder);
    Ok(folder.join(name))
}

/// Removes the permissions of others from the folder and the service's files in it, which may have been created by others.
fn restrict_to_owner(folder: &Path) {
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
            // A volume may belong to another user; the files created in it belong to this process anyway.
            let path = path.display();
            tracing::warn!(%path, %failure, "other users may be able to read the data folder");
        }
    }
}

fn close(path: &Path) -> io::Result<()> {
    // Links are not followed: their targets may not belong to the service.
    let found = match fs::symlink_metadata(path) {
        Err(failure) if failure.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let mode = found.mode();
    if found.is_symlink() || mode & OTHERS == 0 || mode & STICKY != 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode & 0o777 & !OTHERS)) {
        // SQLite may have removed a file beside a database.
        Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
