//! Static files: made once, stored plain and compressed, and sent from one copy to all clients. A client that reads slowly
//! holds a permit, but no memory.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Request, Response};
use sha2::{Digest, Sha256};

use super::concurrency_limit::Permit;
use super::problem::Problem;
use super::request_context::RequestContext;

/// `Cache-Control` of a file that is named after its content.
pub const IMMUTABLE: &str = "max-age=31536000, immutable";
/// `Cache-Control` of any other file: clients revalidate it, and get 304 if it is unchanged.
pub const REVALIDATE: &str = "no-cache";
/// What 304 repeats of the headers; the client has the others.
const REPEATED: [HeaderName; 2] = [header::CACHE_CONTROL, header::VARY];
/// Size of the pieces that a connection gets, one after another.
const PIECE_BYTES: usize = 64 * 1024;

/// A file, its tag and its headers.
pub struct File {
    plain: Bytes,
    /// Made at the first request, unless it was provided.
    gzip: OnceLock<Bytes>,
    tag: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl File {
    /// A file of this type, with this `Cache-Control`.
    pub fn new(content_type: &'static str, cache_control: &'static str, plain: Bytes) -> Self {
        let headers = [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, cache_control),
            (header::VARY, "Accept-Encoding"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Self {
            tag: digest(&plain),
            plain,
            gzip: OnceLock::new(),
            headers: headers.into(),
        }
    }

    /// The same, with its compressed form.
    #[must_use]
    pub fn with_gzip(self, gzip: &'static [u8]) -> Self {
        Self {
            gzip: Bytes::from_static(gzip).into(),
            ..self
        }
    }

    /// The same, with another header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The content or, for a client that has it, 304; an error if the limit on pages is reached.
    pub fn answer(&self, request: &Request) -> Result<Response, Problem> {
        let headers = request.headers();
        let compressed = accepts_gzip(headers);
        let suffix = if compressed { "-gzip" } else { "" };
        let etag = format!("\"{}{suffix}\"", self.tag);
        let is_current = has_current(headers, &etag);
        let mut response: Response = if is_current {
            StatusCode::NOT_MODIFIED.into()
        } else {
            let permit = RequestContext::policy(request)?
                .pages
                .acquire_for(request)?;
            let content = if compressed { self.gzip() } else { &self.plain };
            let rest = content.clone();
            let body = BoxBody::new(Pieces {
                rest,
                _permit: permit,
            });
            Response::builder().body(poem::Body::from(body))
        };
        let headers = response.headers_mut();
        let sent = self.headers.iter();
        let sent = sent.filter(|(name, _)| !is_current || REPEATED.contains(name));
        headers.extend(sent.cloned());
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(header::ETAG, etag);
        }
        if compressed && !is_current {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }

    fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            // Writing to memory does not fail.
            let written = encoder
                .write_all(&self.plain)
                .and_then(|()| encoder.finish());
            written.map_or_else(|_| Bytes::new(), Bytes::from)
        })
    }
}

/// The beginning of the digest of a file.
pub fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let beginning = digest.first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(beginning))
}

/// Whether the client has the content of this tag.
fn has_current(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers.get(header::IF_NONE_MATCH);
    tags.and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| {
            let mut tags = tags.split(',').map(str::trim);
            tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
        })
}

/// Whether the client accepts gzip with a weight above 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter();
    let words = named.filter_map(|value| value.to_str().ok());
    words.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().trim_start_matches("q=").parse::<f32>();
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// The content, piece by piece, and the permit, which is held until the last piece is sent.
struct Pieces {
    rest: Bytes,
    _permit: Permit,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_client_that_accepts_gzip_gets_it() {
        let accepting = |value| headers(header::ACCEPT_ENCODING, value);
        for takes in ["gzip", "br, GZIP", "deflate, gzip;q=0.5"] {
            assert!(accepts_gzip(&accepting(takes)), "{takes}");
        }
        for does_not in ["", "br", "gzip;q=0", "xgzip"] {
            assert!(!accepts_gzip(&accepting(does_not)), "{does_not}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_file_the_client_has_cached_is_not_sent() {
        let has = |tags| has_current(&headers(header::IF_NONE_MATCH, tags), "\"a1\"");
        for known in ["\"a1\"", "W/\"z\", \"a1\"", "W/\"a1\"", "*"] {
            assert!(has(known), "{known}");
        }
        for other in ["\"a\"", "\"a1-gzip\"", "a1", ""] {
            assert!(!has(other), "{other}");
        }
        assert!(!has_current(&HeaderMap::new(), "\"a1\""));
    }

    #[test]
    fn a_file_is_compressed_once_and_shared() {
        let plain = Bytes::from("again and ".repeat(10_000));
        let file = File::new("text/plain", REVALIDATE, plain);
        assert!(file.gzip().starts_with(&[0x1f, 0x8b]));
        assert!(file.gzip().len() < file.plain.len() / 10);
        assert_eq!(file.gzip().as_ptr(), file.gzip().as_ptr());
    }
}
