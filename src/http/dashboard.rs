//! The dashboard: one page, one script and one style sheet, all in the binary. `make dashboard` builds them from
//! `dashboard/`; see docs/dashboard.md. The page uses the API like any other client.

use std::collections::HashMap;

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, Request, Response};
use serde::Serialize;

use super::App;
use super::files::{File, IMMUTABLE, REVALIDATE, digest};
use super::problem::Problem;
use super::settings::Auth;
use crate::domain::Pricing;

/// Path of the files of the page.
const ASSETS: &str = "/dashboard/assets/";

const PAGE: &str = include_str!("../../dashboard/dist/index.html");

/// The page loads only what comes from this service, and contains no script and no style.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src 'self' data:; \
     script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct Asset {
    /// Its name in the source of the page.
    name: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    /// The same, compressed.
    gzip: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $content_type:literal) => {
        Asset {
            name: $name,
            content_type: $content_type,
            plain: include_bytes!(concat!("../../dashboard/dist/", $name)),
            gzip: include_bytes!(concat!("../../dashboard/dist/", $name, ".gz")),
        }
    };
}

const FILES: [Asset; 3] = [
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("THIRD_PARTY.txt", "text/plain; charset=utf-8"),
];

/// What the page contains about the service: nothing secret, because it needs no token.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Release of the service.
    version: &'static str,
    /// Parts that run inside the process.
    embedded: Vec<&'static str>,
    /// How requests are authenticated: `trusted`, `jwt` or `sessions`.
    auth: &'static str,
    /// Whether anybody can be an admin.
    admin_open: bool,
    /// Whether simulations are enabled.
    simulations: bool,
    /// How payments are taken: `simulated` or `refused`.
    payments: &'static str,
    /// The time zone of the daily statistics.
    zone: String,
}

impl About {
    /// The facts about this service.
    pub fn of(app: &App) -> Self {
        let settings = &app.settings;
        let auth = match settings.auth {
            Auth::Trusted => "trusted",
            Auth::Jwt(_) => "jwt",
            Auth::Sessions(..) => "sessions",
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            embedded: settings.embedded_parts.clone(),
            auth,
            admin_open: settings.admin_token.is_some() || auth != "trusted",
            simulations: app.simulator.is_some(),
            payments: match settings.payments {
                Pricing::Sold => "simulated",
                Pricing::Refused => "refused",
            },
            zone: app.aggregator.zone().to_string(),
        }
    }
}

/// The name of a file with the beginning of its digest in it: `app-0123456789abcdef.js`.
fn named_by_content(asset: &Asset) -> String {
    let (stem, extension) = asset.name.rsplit_once('.').unwrap_or((asset.name, ""));
    format!("{stem}-{}.{extension}", digest(asset.plain))
}

/// The page, with the names of its files and the facts about the service.
fn page_text(about: &About) -> String {
    let mut text = PAGE.to_owned();
    for asset in &FILES {
        let address = format!("{ASSETS}{}", named_by_content(asset));
        text = text.replace(&format!("{{{{{}}}}}", asset.name), &address);
    }
    let about = serde_json::to_string(about).unwrap_or_default();
    text.replace("{{about}}", &escaped(&about))
}

/// Text within the quotes of an attribute.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('"', "&quot;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

pub fn page(about: &About) -> impl Endpoint<Output = Response> + 'static + use<> {
    let text = page_text(about).into();
    let page = File::new("text/html; charset=utf-8", REVALIDATE, text)
        .with_header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)
        .with_header(header::REFERRER_POLICY, "no-referrer");
    make_sync(move |request: Request| page.answer(&request))
}

/// The files of the page, compressed for clients that accept it.
pub fn assets() -> impl Endpoint<Output = Response> + 'static + use<> {
    let named = FILES.iter().map(|asset| {
        let plain = Bytes::from_static(asset.plain);
        let file = File::new(asset.content_type, IMMUTABLE, plain).with_gzip(asset.gzip);
        (named_by_content(asset), file)
    });
    let named: HashMap<String, File> = named.collect();
    make_sync(move |request: Request| {
        let name = request.uri().path().strip_prefix(ASSETS);
        match name.and_then(|name| named.get(name)) {
            Some(file) => file.answer(&request),
            None => Err(Problem::not_found("There is no such file.")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_existing_files_and_the_embedded_parts() {
        let about = About {
            embedded: vec!["SQLite", "in-process \"gate\""],
            ..About::default()
        };
        let text = page_text(&about);
        assert!(!text.contains("{{"), "{text}");
        for asset in &FILES {
            assert!(text.contains(&named_by_content(asset)), "{}", asset.name);
        }
        assert!(text.contains("in-process \\&quot;gate\\&quot;"));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_contains_no_script() {
        for foreign in ["src=\"http", "href=\"http", "<style", " style=", " onclick"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        let scripts = PAGE.matches("<script").count();
        assert_eq!(
            scripts,
            PAGE.matches("<script type=\"module\" src=").count()
        );
        let [_, style, _] = &FILES;
        let style = String::from_utf8_lossy(style.plain);
        assert!(!style.contains("http") && !style.contains("@import"));
    }

    #[test]
    fn the_files_have_a_compressed_form() {
        for asset in FILES {
            assert!(asset.gzip.starts_with(&[0x1f, 0x8b]), "{}", asset.name);
            assert!(asset.gzip.len() < asset.plain.len(), "{}", asset.name);
        }
    }
}
