//! `accounts`: creates, lists, changes, disables and enables the accounts for log-in, on the command line. A change ends
//! sessions. Those are in Redis, or with embedded parts in the serving process; then only its admin API can change
//! accounts.

use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use super::data_folder::{self, LockAttempt};
use super::parts;
use crate::access::accounts::{
    Account, Accounts, COMMON, Change, Hasher, Manager, NewAccount, PASSWORD_CHARACTERS,
    create_alone, is_common, scopes_of,
};
use crate::access::identity::{Scope, Scopes};
use crate::config::Config;
use crate::domain::{LoginName, Origin, UserId};
use crate::parts::store::Store;
use crate::runtime::clock::Clock;
use crate::runtime::table::{Column, table};

/// The actions on accounts.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Creates an account, and prints its number. The password is the first line of standard input, or of a file.
    Add {
        /// Login name.
        #[arg(value_parser = login)]
        login: LoginName,
        /// Admin scope; may be given several times.
        #[arg(long, value_name = "SCOPE", value_parser = scope)]
        scope: Vec<Scope>,
        /// File with the password, instead of standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Lists accounts by number.
    List,
    /// Changes an account and ends its sessions. Values that are not given stay unchanged.
    Change {
        /// Login name.
        #[arg(value_parser = login)]
        login: LoginName,
        /// New admin scope; may be given several times.
        #[arg(long, value_name = "SCOPE", value_parser = scope, conflicts_with = "no_scopes")]
        scope: Vec<Scope>,
        /// Removes all admin scopes.
        #[arg(long)]
        no_scopes: bool,
        /// Reads a new password: the first line of standard input.
        #[arg(long)]
        password: bool,
        /// Reads a new password from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "password")]
        password_file: Option<PathBuf>,
    },
    /// Disables an account and ends its sessions.
    Disable(Login),
    /// Disables the one-time codes of an account whose owner lost them, and ends its sessions.
    ResetTotp(Login),
    /// Enables an account again.
    Enable(Login),
}

/// The account of an action.
#[derive(Args, Clone, Debug)]
pub struct Login {
    /// Login name.
    #[arg(value_parser = login)]
    login: LoginName,
}

fn login(text: &str) -> Result<LoginName, String> {
    LoginName::parse(text).ok_or_else(|| LoginName::FORM.to_owned())
}

fn scope(word: &str) -> Result<Scope, String> {
    let words = || Scope::ALL.map(Scope::as_str).join(", ");
    Scope::parse(word).ok_or_else(|| format!("must be one of {}", words()))
}

/// Accounts read by one statement.
const PAGE_ROWS: u64 = 500;

/// Runs the action, and prints its result.
pub async fn run(config: &Config, action: &Action) -> anyhow::Result<ExitCode> {
    let change = match action {
        Action::Add {
            login,
            scope,
            password_file,
        } => {
            let draft = NewAccount {
                login: login.clone(),
                password: password(password_file.as_deref())?,
                scopes: among(scope),
            };
            return add(config, &draft).await;
        }
        Action::List => return list(config).await,
        Action::Change {
            login,
            scope,
            no_scopes,
            password: is_typed,
            password_file,
        } => {
            let renewed = (*is_typed || password_file.is_some())
                .then(|| password(password_file.as_deref()))
                .transpose()?;
            let scopes = (*no_scopes || !scope.is_empty()).then(|| among(scope));
            ensure!(
                renewed.is_some() || scopes.is_some(),
                "nothing to change: use --scope, --no-scopes, --password or --password-file"
            );
            let change = Change {
                password: renewed,
                scopes,
                ..Change::default()
            };
            (login, change)
        }
        Action::Disable(Login { login }) => (login, disabled(true)),
        Action::Enable(Login { login }) => (login, disabled(false)),
        Action::ResetTotp(Login { login }) => {
            let change = Change {
                reset_totp: true,
                ..Change::default()
            };
            (login, change)
        }
    };
    let (login, change) = change;
    let changed = self::change(config, login, &change).await?;
    super::print(&format!("account {}: {}", changed.id, summary(&changed)))?;
    Ok(ExitCode::SUCCESS)
}

fn among(scopes: &[Scope]) -> Scopes {
    Scopes::among(scopes.iter().map(|scope| scope.as_str()))
}

fn disabled(disabled: bool) -> Change {
    Change {
        disabled: Some(disabled),
        ..Change::default()
    }
}

async fn add(config: &Config, draft: &NewAccount) -> anyhow::Result<ExitCode> {
    let hasher = Hasher::new(&config.accounts)?;
    // A process that uses the embedded database has already migrated it.
    let lock = data_folder::try_acquire(config)?;
    let store = match lock {
        Some(LockAttempt::InUse(_)) => parts::store(config, Clock::System).await?,
        _ => parts::migrated_store(config, Clock::System).await?,
    };
    let made = create_alone(&store, &hasher, draft, Origin::of_command_line()).await;
    store.close().await?;
    super::print(&format!("account {}", made?.id))?;
    Ok(ExitCode::SUCCESS)
}

async fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let store = parts::store(config, Clock::System).await?;
    let mut accounts = Vec::new();
    let mut after: Option<UserId> = None;
    loop {
        let page = store.accounts(after, PAGE_ROWS).await?;
        after = page.last().map(|account| account.id);
        if page.is_empty() {
            break;
        }
        accounts.extend(page);
    }
    store.close().await?;
    accounts.reverse();
    let columns: [Column<Account>; 5] = [
        ("number", |of| of.id.to_string()),
        ("login", |of| of.login.as_str().to_owned()),
        ("scopes", |of| scopes_of(of).words().join(" ")),
        ("state", |of| state(of).to_owned()),
        ("created", |of| of.created_at.to_rfc3339()),
    ];
    let table = table(&accounts, &columns);
    super::print(&format!("{table}\n{} accounts", accounts.len()))?;
    Ok(ExitCode::SUCCESS)
}

fn state(account: &Account) -> &'static str {
    match (account.disabled, account.has_totp()) {
        (false, false) => "enabled",
        (false, true) => "enabled, TOTP",
        (true, false) => "disabled",
        (true, true) => "disabled, TOTP",
    }
}

fn summary(account: &Account) -> String {
    let scopes = scopes_of(account).words().join(" ");
    let scopes = if scopes.is_empty() { "none" } else { &scopes };
    format!("{}, scopes: {scopes}", state(account))
}

/// Changes the account of a login name. The command line has all scopes.
async fn change(config: &Config, login: &LoginName, change: &Change) -> anyhow::Result<Account> {
    if config.redis.url.is_none() {
        bail!(
            "cannot end the sessions of {}: without FIRSTCOME_REDIS_URL they are in the process that serves; \
             change the account there (PATCH /api/admin/accounts/NUMBER)",
            login.as_str()
        );
    }
    let store = parts::store(config, Clock::System).await?;
    let account = find(&store, login).await?;
    let sessions = parts::gate(config, Clock::System).await?;
    let accounts = Accounts::new(
        (store.clone(), store.clone()),
        Arc::new(sessions),
        config.accounts.clone(),
        config.http.request_timeout,
    )?;
    let manager = Manager {
        by: Origin::of_command_line(),
        scopes: Scopes::ALL,
    };
    let changed = accounts.change(account.id, change, &manager).await;
    store.close().await?;
    Ok(changed?)
}

async fn find(store: &Store, login: &LoginName) -> anyhow::Result<Account> {
    let found = store.account_by_login(login).await?;
    found.with_context(|| format!("there is no account {}", login.as_str()))
}

/// The password. It is never an argument, because every user of the machine can read arguments.
fn password(file: Option<&Path>) -> anyhow::Result<SecretString> {
    let mut line = match file {
        Some(file) => fs::read_to_string(file)
            .with_context(|| format!("cannot read the password from {}", file.display()))?,
        None => typed().context("cannot read the password from standard input")?,
    };
    line.truncate(line.lines().next().map_or(0, str::len));
    let password = SecretString::from(line);
    let characters = password.expose_secret().chars().count();
    ensure!(
        PASSWORD_CHARACTERS.contains(&characters),
        "the password must have {} to {} characters",
        PASSWORD_CHARACTERS.start(),
        PASSWORD_CHARACTERS.end()
    );
    ensure!(
        !password.expose_secret().chars().any(char::is_control),
        "the password must not contain control characters"
    );
    ensure!(
        !is_common(password.expose_secret()),
        "the password {COMMON}"
    );
    Ok(password)
}

fn typed() -> std::io::Result<String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let mut screen = std::io::stderr();
        write!(screen, "Password (it will be seen): ")?;
        screen.flush()?;
    }
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    Ok(line)
}
