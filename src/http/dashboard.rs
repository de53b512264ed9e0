//! The dashboard: one page, one script and one style sheet, all in the binary. They are made by
//! `make dashboard` from what is in `dashboard/`; see docs/dashboard.md. Nothing here asks the service
//! anything: the page does, over the API, like any other client.

use std::sync::Arc;

use poem::endpoint::make_sync;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Body, Endpoint, Request, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::App;
use super::problem::Problem;
use super::settings::{Auth, TakenPayments};

/// Where the files of the page are.
const ASSETS: &str = "/dashboard/assets/";

const PAGE: &str = include_str!("../../dashboard/dist/index.html");

/// A page may load what comes from this service, and nothing else; there is no script and no style in it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src 'self' data:; \
     script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What is named after its content never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// What is not, is asked for again; the answer is short if nothing has changed.
const ASK_AGAIN: &str = "no-cache";

/// A file of the page.
struct Asset {
    /// As the page's source calls it.
    name: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    /// The same, compressed.
    gzip: &'static [u8],
}

const FILES: [Asset; 3] = [
    Asset {
        name: "app.js",
        content_type: "text/javascript; charset=utf-8",
        plain: include_bytes!("../../dashboard/dist/app.js"),
        gzip: include_bytes!("../../dashboard/dist/app.js.gz"),
    },
    Asset {
        name: "app.css",
        content_type: "text/css; charset=utf-8",
        plain: include_bytes!("../../dashboard/dist/app.css"),
        gzip: include_bytes!("../../dashboard/dist/app.css.gz"),
    },
    Asset {
        name: "THIRD_PARTY.txt",
        content_type: "text/plain; charset=utf-8",
        plain: include_bytes!("../../dashboard/dist/THIRD_PARTY.txt"),
        gzip: include_bytes!("../../dashboard/dist/THIRD_PARTY.txt.gz"),
    },
];

/// What the page is told about the service it comes from: nothing that is secret, for it takes no token.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Release of the service.
    version: &'static str,
    /// Parts that run inside the process.
    embedded: Vec<&'static str>,
    /// How participants say who they are: `trusted`, `jwt` or `sessions`.
    auth: &'static str,
    /// Whether there is an admin token, or another way to be an admin.
    admin_open: bool,
    /// Whether participants can be simulated.
    simulations: bool,
    /// What becomes of payments: `simulated` or `refused`.
    payments: &'static str,
    /// Whose days are aggregated.
    zone: String,
}

impl About {
    /// What there is to say about this service.
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
                TakenPayments::Simulated => "simulated",
                TakenPayments::Refused => "refused",
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

fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let beginning = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(beginning))
}

/// The page, with the names of its files and what it is told.
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

/// The page itself.
pub fn page(about: &About) -> impl Endpoint<Output = Response> + 'static + use<> {
    let text: Arc<str> = page_text(about).into();
    let etag = etag(&digest(text.as_bytes()));
    make_sync(move |request: Request| {
        let mut response = unless_known(request.headers(), &etag, || Body::from(text.to_string()));
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, ASK_AGAIN),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        insert(&mut response, headers);
        response
    })
}

/// The files of the page, compressed for whoever takes that.
pub fn assets() -> impl Endpoint<Output = Response> + 'static + use<> {
    let named: Vec<(String, Asset)> = FILES
        .into_iter()
        .map(|asset| (named_by_content(&asset), asset))
        .collect();
    poem::endpoint::make(move |request: Request| {
        let path = request.uri().path();
        let asked = path.strip_prefix(ASSETS).unwrap_or_default();
        let found = named.iter().find(|(name, _)| name == asked);
        let answer: poem::Result<Response> = match found {
            Some((name, asset)) => Ok(asset_answer(request.headers(), name, asset)),
            None => Err(Problem::not_found("There is no such file.").into()),
        };
        async move { answer }
    })
}

fn asset_answer(asked: &HeaderMap, name: &str, asset: &Asset) -> Response {
    let compressed = takes_gzip(asked);
    let (content, suffix) = if compressed {
        (asset.gzip, "-gzip")
    } else {
        (asset.plain, "")
    };
    let etag = etag(&format!("{name}{suffix}"));
    let mut response = unless_known(asked, &etag, || Body::from_bytes(content.into()));
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, FOR_EVER),
        (header::VARY, "Accept-Encoding"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    insert(&mut response, headers);
    if compressed {
        insert(&mut response, [(header::CONTENT_ENCODING, "gzip")]);
    }
    response
}

fn etag(tag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{tag}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("\"-\""))
}

/// The content, or 304 for whoever has it.
fn unless_known(asked: &HeaderMap, etag: &HeaderValue, content: impl Fn() -> Body) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|tags| {
        let tags = tags.as_bytes();
        let tag = etag.as_bytes();
        tags == b"*" || tags.windows(tag.len()).any(|window| window == tag)
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into()
    } else {
        Response::builder().body(content())
    };
    response.headers_mut().insert(header::ETAG, etag.clone());
    response
}

fn insert<const N: usize>(response: &mut Response, headers: [(HeaderName, &'static str); N]) {
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
}

/// Whether a client takes what is compressed: it names gzip, and does not say that it is worth nothing.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter();
    let words = named.filter_map(|value| value.to_str().ok());
    words.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().trim_start_matches("q=").parse::<f32>();
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_page_names_files_that_there_are_and_says_what_is_embedded() {
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
    fn the_page_loads_nothing_from_elsewhere_and_has_no_script_within() {
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
    fn what_is_compressed_goes_to_those_who_take_it() {
        for takes in ["gzip", "br, GZIP", "deflate, gzip;q=0.5"] {
            assert!(takes_gzip(&accepting(takes)), "{takes}");
        }
        for does_not in ["", "br", "gzip;q=0", "xgzip"] {
            assert!(!takes_gzip(&accepting(does_not)), "{does_not}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
        for asset in FILES {
            assert!(asset.gzip.starts_with(&[0x1f, 0x8b]), "{}", asset.name);
            assert!(asset.gzip.len() < asset.plain.len(), "{}", asset.name);
        }
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let tag = etag("a1");
        let asked =
            |tags| HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(tags))]);
        let answer = |headers: &HeaderMap| unless_known(headers, &tag, || Body::from("x")).status();
        assert_eq!(answer(&asked("W/\"z\", \"a1\"")), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(&asked("\"a\"")), StatusCode::OK);
        assert_eq!(answer(&HeaderMap::new()), StatusCode::OK);
    }
}
