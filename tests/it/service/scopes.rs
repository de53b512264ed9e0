//! Every operation of the admin API needs exactly the scopes in `docs/authentication.md`. The operations are
//! read from the service's OpenAPI document, so that none is forgotten.

use std::collections::BTreeMap;
use std::fs;

use firstcome::access::identity::Scope;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{ADMIN_TOKEN, Service, body};
use super::tokens::{token, with_secret};

/// One operation of the admin API.
struct Operation {
    method: Method,
    template: String,
}

impl Operation {
    /// Calls it with ids that do not exist.
    async fn ask(&self, service: &Service, token: Option<&str>) -> Response {
        let parts = self.template.split('/').map(|part| match part {
            "{id}"
                if ["dead-letters", "/admin/participations"]
                    .iter()
                    .any(|part| self.template.contains(part)) =>
            {
                uuid::Uuid::nil().to_string()
            }
            part if part.starts_with('{') => "999999999".to_owned(),
            part => part.to_owned(),
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let url = format!("{}{path}", service.base);
        let mut request = service.client.request(self.method.clone(), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap()
    }
}

async fn operations(service: &Service) -> Vec<Operation> {
    let document = body(service.get("/openapi.json").send().await.unwrap()).await;
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        if !template.starts_with("/api/admin/") {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                template: template.clone(),
            });
        }
    }
    operations
}

/// The table of the document: the beginning of an operation's method and path, and its scopes.
fn documented() -> BTreeMap<String, Vec<String>> {
    let folder = env!("CARGO_MANIFEST_DIR");
    let document = fs::read_to_string(format!("{folder}/docs/authentication.md")).unwrap();
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let mut table = BTreeMap::new();
    for row in rows {
        let words = row.split('`').skip(1).step_by(2).map(str::to_owned);
        let (operations, scopes): (Vec<String>, Vec<String>) =
            words.partition(|word| word.contains('/'));
        let operations = operations.into_iter();
        for operation in operations.filter(|word| word.contains("/api/admin/")) {
            table.insert(operation, scopes.clone());
        }
    }
    table
}

/// The documented scopes of an operation: those of the longest matching row.
fn expected(table: &BTreeMap<String, Vec<String>>, operation: &Operation) -> Option<Vec<String>> {
    let asked = format!("{} {}", operation.method, operation.template);
    let fitting = table.iter().filter(|(row, _)| match row.strip_suffix('…') {
        Some(beginning) => asked.starts_with(beginning),
        None => asked == **row,
    });
    let best = fitting.max_by_key(|(row, _)| row.len());
    best.map(|(_, scopes)| scopes.clone())
}

fn with(scopes: impl Iterator<Item = Scope>) -> String {
    let words: Vec<&str> = scopes.map(Scope::as_str).collect();
    token(&json!({ "sub": "an admin of a test", "scope": words.join(" ") }))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_admin_operation_takes_its_own_scopes() {
    let folder = TempDir::new().unwrap();
    let mut settings = with_secret();
    settings.push(("FIRSTCOME_TEST_ENDPOINTS", "true".to_owned()));
    let service = Service::start(&folder, &settings).await;
    let table = documented();
    let operations = operations(&service).await;
    assert!(operations.len() >= 14, "there were so many once");
    for operation in &operations {
        let what = format!("{} {}", operation.method, operation.template);
        let nobody = operation.ask(&service, None).await;
        assert_eq!(nobody.status(), 401, "{what}");
        assert!(nobody.headers().contains_key("www-authenticate"), "{what}");
        let forged = operation.ask(&service, Some("forged")).await;
        assert_eq!(forged.status(), 401, "{what}");

        let mut needed = Vec::new();
        for scope in Scope::ALL {
            let others = with(Scope::ALL.into_iter().filter(|other| *other != scope));
            let answer = operation.ask(&service, Some(&others)).await;
            if answer.status() != 403 {
                continue;
            }
            needed.push(scope);
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            assert_eq!(answer.headers()["www-authenticate"], challenge, "{what}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let problem = body(answer).await;
            assert_eq!(problem["code"], "MISSING_SCOPE", "{what}");
            assert_eq!(problem["scope"], json!(scope.as_str()), "{what}");
        }
        let row = expected(&table, operation);
        let row = row.unwrap_or_else(|| panic!("{what} is not in docs/authentication.md"));
        let words: Vec<&str> = needed.iter().map(|scope| scope.as_str()).collect();
        assert_eq!(row, words, "{what}");

        let enough = with(needed.into_iter());
        for token in [enough.as_str(), ADMIN_TOKEN] {
            let status = operation.ask(&service, Some(token)).await.status().as_u16();
            assert!(
                status != 401 && status != 403 && status < 500,
                "{what}: {status}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_scopes_is_no_admin() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let user = token(&json!({ "sub": "42" }));
    for operation in operations(&service).await {
        let answer = operation.ask(&service, Some(&user)).await;
        assert_eq!(answer.status(), 403, "{}", operation.template);
        assert_eq!(body(answer).await["code"], "MISSING_SCOPE");
    }
}

/// The kind of an actor is part of its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_named_like_the_admin_token_is_distinguished_from_it() {
    let folder = TempDir::new().unwrap();
    let service = Service::start(&folder, &with_secret()).await;
    let named = token(&json!({ "sub": "admin-token", "scope": "campaign:write" }));
    let made = service.post("/api/admin/campaigns").bearer_auth(named);
    let made = made.json(&json!({ "name": "one" })).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let log = service.get("/api/admin/audit").bearer_auth(ADMIN_TOKEN);
    let log: Value = body(log.send().await.unwrap()).await;
    assert_eq!(log["items"][0]["actor"], json!("jwt:admin-token"));
}
