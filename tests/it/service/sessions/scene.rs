//! A service with log-ins, and a browser that stores cookies.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::process::{ADMIN_TOKEN, Service, body};
use super::super::real::{Parts, parts};

pub const PASSWORD: &str = "correct horse battery staple";

/// Settings of a service without a limit on log-ins.
pub fn settings() -> Vec<(&'static str, String)> {
    vec![
        ("FIRSTCOME_AUTH_MODE", "sessions".to_owned()),
        (
            "FIRSTCOME_ACCOUNTS_LOGIN_RATE_ADDRESS",
            "100000/1s".to_owned(),
        ),
        ("FIRSTCOME_ACCOUNTS_LOGIN_FAILURES_MAX", "100000".to_owned()),
        (
            "FIRSTCOME_ACCOUNTS_LOGIN_FAILURES_ALL_MAX",
            "100000".to_owned(),
        ),
        // The machine is shared, so hashing may take long.
        ("FIRSTCOME_ACCOUNTS_HASHING_WAIT_MAX", "30s".to_owned()),
    ]
}

/// A service and its dependencies.
pub struct Scene {
    pub service: Service,
    pub folder: TempDir,
    pub parts: Option<Parts>,
}

impl Scene {
    pub async fn embedded(more: &[(&'static str, &str)]) -> Self {
        let mut settings = settings();
        settings.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let folder = TempDir::new().unwrap();
        let service = Service::start(&folder, &settings).await;
        Self {
            service,
            folder,
            parts: None,
        }
    }

    pub async fn real(more: &[(&'static str, &str)]) -> Self {
        let mut parts = parts().await;
        parts.settings.extend(settings());
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        parts.settings.extend(more);
        let folder = TempDir::new().unwrap();
        let service = Service::start(&folder, parts.settings()).await;
        Self {
            service,
            folder,
            parts: Some(parts),
        }
    }

    /// Both.
    pub async fn all(more: &[(&'static str, &str)]) -> [Self; 2] {
        [Self::embedded(more).await, Self::real(more).await]
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser::at(&self.service)
    }
}

/// Creates an account with these scopes. Returns its number.
pub async fn account(service: &Service, login: &str, scopes: &[&str]) -> i64 {
    let asked = json!({ "login": login, "password": PASSWORD, "scopes": scopes });
    let made = service
        .admin("/accounts")
        .json(&asked)
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201, "{login}");
    body(made).await["id"].as_i64().unwrap()
}

/// Changes an account with the admin token.
pub async fn change(service: &Service, id: i64, asked: Value) -> Response {
    let url = format!("{}/api/admin/accounts/{id}", service.base);
    let request = service.client.patch(url).bearer_auth(ADMIN_TOKEN);
    request.json(&asked).send().await.unwrap()
}

/// A campaign that everybody can participate in.
pub async fn campaign(service: &Service) -> i64 {
    let asked = json!({ "name": "for those who log in", "kind": "general", "perUserLimit": 100 });
    service.create(asked).await
}

/// Stores cookies, and the CSRF token that comes with them.
#[derive(Clone)]
pub struct Browser<'a> {
    service: &'a Service,
    pub cookies: BTreeMap<String, String>,
    pub csrf: String,
}

impl<'a> Browser<'a> {
    pub fn at(service: &'a Service) -> Self {
        Self {
            service,
            cookies: BTreeMap::new(),
            csrf: String::new(),
        }
    }

    /// The same browser, sent to another replica.
    pub fn moved_to<'b>(&self, service: &'b Service) -> Browser<'b> {
        Browser {
            service,
            cookies: self.cookies.clone(),
            csrf: self.csrf.clone(),
        }
    }

    /// A request with the cookies alone.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.service.base);
        let request = self.service.client.request(method, url);
        if self.cookies.is_empty() {
            return request;
        }
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        request.header("cookie", pairs.collect::<Vec<_>>().join("; "))
    }

    /// A request as one of the session's own pages makes it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.bare(method, path);
        if self.csrf.is_empty() {
            return request;
        }
        request.header("x-csrf-token", &self.csrf)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, asked: &Value) -> Response {
        let request = self.request(Method::POST, path).json(asked);
        request.send().await.unwrap()
    }

    /// Logs in, and stores the cookies.
    pub async fn log_in(
        &mut self,
        login: &str,
        password: &str,
        remember: Option<bool>,
    ) -> Response {
        let mut asked = json!({ "login": login, "password": password });
        if let Some(remember) = remember {
            asked["rememberMe"] = json!(remember);
        }
        let answer = self.request(Method::POST, "/api/session").json(&asked);
        let answer = answer.send().await.unwrap();
        self.keep(answer.headers());
        answer
    }

    /// Logs in, which must succeed. Returns the body of the response.
    pub async fn enters(&mut self, login: &str, remember: Option<bool>) -> Value {
        let answer = self.log_in(login, PASSWORD, remember).await;
        self.is_let_in(answer).await
    }

    /// Resumes a remembered log-in.
    pub async fn resume(&mut self) -> Response {
        let answer = self.bare(Method::POST, "/api/session/resume").send().await;
        let answer = answer.unwrap();
        self.keep(answer.headers());
        answer
    }

    pub async fn is_let_in(&mut self, answer: Response) -> Value {
        assert_eq!(answer.status(), 201);
        let session = body(answer).await;
        session["csrfToken"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.csrf);
        session
    }

    pub async fn log_out(&mut self) -> Response {
        let answer = self.request(Method::DELETE, "/api/session").send().await;
        let answer = answer.unwrap();
        self.keep(answer.headers());
        answer
    }

    /// Whether the browser is logged in.
    pub async fn is_logged_in(&self) -> bool {
        match self.get("/api/session").await.status().as_u16() {
            200 => true,
            401 => false,
            other => panic!("neither: {other}"),
        }
    }

    pub async fn takes_part(&self, campaign: i64) -> Response {
        let path = format!("/api/campaigns/{campaign}/participation");
        self.post(&path, &json!({})).await
    }

    pub fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let pair = line.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// The cookies of an answer, as it sets them.
pub fn set_cookies(answer: &Response) -> Vec<String> {
    let lines = answer.headers().get_all("set-cookie").iter();
    lines
        .map(|line| line.to_str().unwrap().to_owned())
        .collect()
}

/// Status and code of a problem.
pub async fn said(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let code = body(answer).await["code"].as_str().unwrap_or("").to_owned();
    (status, code)
}

pub fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
