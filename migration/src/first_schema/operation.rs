//! Who may administer, what they did, and which replica does what.

use crate::table::{Dialect, Table};

/// Accounts, for installations without an identity provider. Login names are ASCII, so that both databases
/// agree on which of them differ in case alone. Sessions are not here: those may be lost.
pub(super) fn account(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        serial,
        ascii,
        ascii_any_case,
        ascii_exact,
        ..
    } = dialect;
    let columns = format!(
        "id {serial},
        login VARCHAR(64) {ascii_any_case} NOT NULL,
        password_hash VARCHAR(255) {ascii_exact} NOT NULL,
        scopes VARCHAR(255) {ascii} NOT NULL,
        disabled BOOLEAN NOT NULL,
        version BIGINT NOT NULL,
        totp_secret VARCHAR(64) {ascii_exact} NULL,
        totp_enabled BOOLEAN NOT NULL,
        totp_last_step BIGINT NOT NULL,
        created_at {time} NOT NULL"
    );
    Table::new("account", columns).unique("account_by_login", "login")
}

/// Recovery codes that are left: SHA-256 of each, in hexadecimal digits.
pub(super) fn account_recovery_code(dialect: &Dialect) -> Table {
    let Dialect { ascii_exact, .. } = dialect;
    let columns = format!(
        "account_id BIGINT NOT NULL,
        digest CHAR(64) {ascii_exact} NOT NULL,
        PRIMARY KEY (account_id, digest)"
    );
    Table::new("account_recovery_code", columns).clustered()
}

/// Tokens that were sent to the owner of a login name, by SHA-256 in hexadecimal digits: each is used once, for a
/// sign-up or for a new password.
pub(super) fn account_token(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        ascii,
        ascii_any_case,
        ascii_exact,
        ..
    } = dialect;
    let columns = format!(
        "digest CHAR(64) {ascii_exact} NOT NULL PRIMARY KEY,
        purpose VARCHAR(16) {ascii} NOT NULL,
        login VARCHAR(64) {ascii_any_case} NOT NULL,
        account_id BIGINT NULL,
        expires_at {time} NOT NULL"
    );
    Table::new("account_token", columns).index("account_token_by_end", "expires_at")
}

/// The audit log: what admins did, a row for each action. Nothing refers to these rows and they refer to
/// nothing, so that they can outlive what they are about.
pub(super) fn audit_entry(dialect: &Dialect) -> Table {
    let Dialect {
        time,
        serial,
        ascii,
        unicode_exact,
        ..
    } = dialect;
    let columns = format!(
        "id {serial},
        created_at {time} NOT NULL,
        actor VARCHAR(255) {unicode_exact} NOT NULL,
        action VARCHAR(64) {ascii} NOT NULL,
        campaign_id BIGINT NULL,
        subject VARCHAR(64) {ascii} NULL,
        before_values MEDIUMTEXT NULL,
        after_values MEDIUMTEXT NULL,
        request_id VARCHAR(64) {ascii} NULL,
        address VARCHAR(45) {ascii} NULL"
    );
    Table::new("audit_entry", columns)
        .index("audit_by_time", "created_at")
        .index("audit_by_campaign", "campaign_id, id")
        .index("audit_by_actor", "actor, id")
        .index("audit_by_action", "action, id")
}

/// Tasks that one replica does at a time: which, and until when.
pub(super) fn duty(dialect: &Dialect) -> Table {
    let Dialect { time, ascii, .. } = dialect;
    let columns = format!(
        "name VARCHAR(32) {ascii} NOT NULL PRIMARY KEY,
        owner VARCHAR(64) {ascii} NOT NULL,
        expires_at {time} NOT NULL"
    );
    Table::new("duty", columns)
}
