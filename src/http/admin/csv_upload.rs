//! A CSV body that is read while it arrives.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper::body::Bytes;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::http::problem::{no_csv, unreadable_body};

/// How many bytes, and for how long, the rest of a rejected file is read. A client that is still sending receives the
/// response only if its file is read.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// A file that arrives piece by piece.
pub struct CsvUpload {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send>>,
    is_over: bool,
}

impl Stream for CsvUpload {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.pieces.as_mut().poll_next(cx).map(|piece| {
            self.is_over = !matches!(piece, Some(Ok(_)));
            piece
        })
    }
}

impl CsvUpload {
    /// Reads the rest of the file. Returns whether it ended within the bounds.
    pub async fn discard(&mut self) -> bool {
        let read = async {
            let mut bytes = 0;
            while let Some(Ok(piece)) = self.next().await {
                bytes += piece.len();
                if bytes > DISCARDED_BYTES_MAX {
                    return false;
                }
            }
            true
        };
        let read = tokio::time::timeout(DISCARDING_MAX, read).await;
        read.unwrap_or(false)
    }
}

impl<'a> ApiExtractor<'a> for CsvUpload {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some("User ids, one a line. A first line `userId` is optional."),
            content: vec![MetaMediaType {
                content_type: "text/csv",
                schema: String::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let essence = request.content_type().and_then(|ty| ty.split(';').next());
        if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/csv")) {
            return Err(no_csv().into());
        }
        let body = body.take().map_err(|error| unreadable_body(&error))?;
        Ok(Self {
            pieces: Box::pin(body.into_bytes_stream()),
            is_over: false,
        })
    }
}
