//! A receiver of webhooks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A webhook that responds with these statuses in order, and then with the last one.
pub struct Webhook {
    pub url: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Webhook {
    pub async fn answering(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let noting = Arc::clone(&heard);
        let nth = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let status = statuses[nth.fetch_add(1, Ordering::SeqCst).min(statuses.len() - 1)];
                if let Some(request) = answer(stream, status).await {
                    noting.lock().unwrap().push(request);
                }
            }
        });
        Self {
            url: format!("http://{address}/services/secret"),
            heard,
        }
    }

    /// The requests so far: head and body.
    pub fn heard(&self) -> Vec<(String, Value)> {
        self.heard.lock().unwrap().clone()
    }
}

/// Reads one request and answers it: its head and its body.
async fn answer(mut stream: TcpStream, status: u16) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 1_024];
        let read = stream.read(&mut some).await.ok()?;
        bytes.extend_from_slice(&some[..read]);
        let text = String::from_utf8(bytes.clone()).ok()?;
        let body = text.split_once("\r\n\r\n");
        let whole = body.and_then(|(head, body)| Some((head, serde_json::from_str(body).ok()?)));
        if let Some((head, body)) = whole {
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok()?;
            return Some((head.to_owned(), body));
        }
        if read == 0 {
            return None;
        }
    }
}
