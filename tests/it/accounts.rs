//! Accounts in the store, on both databases.

use firstcome::domain::{Actor, AuditAction, AuditNote, LoginName, Origin, UserId};
use firstcome::parts::store::{AccountChange, AuditFilter, NewAccount, Store};
use secrecy::ExposeSecret;

use crate::support::stores;

fn note(action: AuditAction) -> AuditNote {
    let by = Origin {
        actor: Actor::CommandLine,
        request_id: None,
        address: None,
    };
    AuditNote::beside(by, action)
}

fn new(login: &str) -> NewAccount {
    NewAccount {
        login: LoginName::parse(login).unwrap(),
        password_hash: format!("hash of {login}").into(),
        scopes: "stats:read".to_owned(),
    }
}

async fn create(store: &Store, login: &str) -> Option<firstcome::parts::store::Account> {
    let (new, note) = (new(login), note(AuditAction::AccountCreate));
    store.create_account(&new, note).await.unwrap()
}

async fn notes(store: &Store) -> Vec<(String, Option<String>)> {
    let filter = AuditFilter::default();
    let entries = store.audit_entries(&filter, 100).await.unwrap();
    let told = entries.into_iter();
    told.map(|entry| (entry.action, entry.subject)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn login_names_are_case_insensitive() {
    for test in stores().await {
        let store = &test.store;
        let ada = create(store, "Ada@example.org").await.unwrap();
        assert_eq!((ada.version, ada.disabled), (1, false));
        assert!(create(store, "aDA@EXAMPLE.org").await.is_none());
        let bob = create(store, "bob").await.unwrap();
        assert!(bob.id > ada.id);
        for login in ["Ada@example.org", "ada@example.org", "ADA@EXAMPLE.ORG"] {
            let login = LoginName::parse(login).unwrap();
            let found = store.account_by_login(&login).await.unwrap().unwrap();
            assert_eq!(found.id, ada.id);
            assert_eq!(found.login.as_str(), "Ada@example.org", "as it was written");
            assert_eq!(
                found.password_hash.expose_secret(),
                "hash of Ada@example.org"
            );
        }
        let nobody = LoginName::parse("carol").unwrap();
        assert!(store.account_by_login(&nobody).await.unwrap().is_none());
        assert!(store.find_account(UserId(9_999)).await.unwrap().is_none());
        let told = |id: UserId| ("account.create".to_owned(), Some(id.to_string()));
        assert_eq!(notes(store).await, [told(bob.id), told(ada.id)]);
        let page = store.accounts(None, 1).await.unwrap();
        assert_eq!(page[0].id, bob.id);
        let rest = store.accounts(Some(bob.id), 10).await.unwrap();
        assert_eq!(rest.iter().map(|one| one.id).collect::<Vec<_>>(), [ada.id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_applies_to_the_version_that_was_read_and_is_recorded_once() {
    for test in stores().await {
        let store = &test.store;
        let ada = create(store, "ada").await.unwrap();
        let change = AccountChange {
            password_hash: Some("another hash".to_owned().into()),
            scopes: Some(String::new()),
            disabled: Some(true),
            totp: None,
        };
        for (version, expected) in [(2, false), (1, true), (1, false)] {
            let note = note(AuditAction::AccountChange);
            let changed = store.change_account(ada.id, version, &change, note).await;
            assert_eq!(changed.unwrap(), expected, "{version}");
        }
        let changed = store.find_account(ada.id).await.unwrap().unwrap();
        assert_eq!((changed.version, changed.disabled), (2, true));
        assert_eq!(changed.scopes, "");
        assert_eq!(changed.password_hash.expose_secret(), "another hash");
        assert_eq!(notes(store).await.len(), 2);

        // Another hash of the same password is no change of the account, and never undoes one.
        let again = "the same in another way".to_owned().into();
        let (old, now) = (&ada.password_hash, &changed.password_hash);
        assert!(!store.rehash_account(ada.id, old, &again).await.unwrap());
        assert!(store.rehash_account(ada.id, now, &again).await.unwrap());
        let rehashed = store.find_account(ada.id).await.unwrap().unwrap();
        assert_eq!(rehashed.version, 2);
        assert_eq!(
            rehashed.password_hash.expose_secret(),
            again.expose_secret()
        );
    }
}
