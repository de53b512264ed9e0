//! `accounts`: makes the accounts that people log in by, on the command line. Changing one is for the admin
//! API alone: it ends sessions, which on embedded parts are in another process.

use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};

use super::data_folder::{self, Held};
use super::dead_letters::COMMAND_LINE;
use super::parts;
use crate::accounts::{Hasher, PASSWORD_CHARACTERS, Wanted, create_alone};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{LoginName, Origin};
use crate::identity::{Scope, Scopes};

/// What is done with accounts.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Makes one, and prints its number. The password is the first line of standard input, or of a file.
    Add {
        /// What they log in as.
        #[arg(value_parser = login)]
        login: LoginName,
        /// What it may do as an admin; may be given several times.
        #[arg(long, value_name = "SCOPE", value_parser = scope)]
        scope: Vec<Scope>,
        /// Where the password is, instead of standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

fn login(text: &str) -> Result<LoginName, String> {
    LoginName::parse(text).ok_or_else(|| LoginName::FORM.to_owned())
}

fn scope(word: &str) -> Result<Scope, String> {
    let words = || Scope::ALL.map(Scope::as_str).join(", ");
    Scope::parse(word).ok_or_else(|| format!("must be one of {}", words()))
}

/// Runs the action and prints what came of it.
pub async fn run(config: &Config, action: &Action) -> anyhow::Result<ExitCode> {
    let Action::Add {
        login,
        scope,
        password_file,
    } = action;
    let wanted = Wanted {
        login: login.clone(),
        password: password(password_file.as_deref())?,
        scopes: Scopes::among(scope.iter().map(|scope| scope.as_str())),
    };
    let hasher = Hasher::new(config.accounts.passwords())?;
    // A process that works with the embedded database has brought its schema up to date.
    let held = data_folder::try_hold(config)?;
    let store = match held {
        Some(Held::Elsewhere(_)) => parts::store(config, Clock::System).await?,
        _ => parts::migrated_store(config, Clock::System).await?,
    };
    let by = Origin {
        actor: COMMAND_LINE.to_owned(),
        request_id: None,
        address: None,
    };
    let made = create_alone(&store, &hasher, &wanted, by).await;
    store.close().await?;
    super::print(&format!("account {}", made?.id))?;
    Ok(ExitCode::SUCCESS)
}

/// The password, which is never an argument: those are for everybody on the machine to see.
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
