//! The service's own way, over HTTP on kept connections, as any client would ask it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Decide, Decision, Failure};

struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
    address: SocketAddr,
    campaign: i64,
}

pub async fn connections(
    address: SocketAddr,
    campaign: i64,
    count: u64,
) -> Result<Vec<impl Decide>, Failure> {
    let mut all = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        all.push(Http {
            stream,
            buffer: Vec::with_capacity(4_096),
            address,
            campaign,
        });
    }
    Ok(all)
}

impl Decide for Http {
    async fn decide(&mut self, user: u64) -> Result<Decision, Failure> {
        let body = format!("{{\"userId\":{user}}}");
        let request = format!(
            "POST /api/campaigns/{}/participation HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.campaign,
            self.address,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the service closed the connection".into());
            }
            if let Some((status, text)) = parse(&self.buffer) {
                return match status {
                    201 => Ok(Decision::Accepted),
                    409 if text.contains("SOLD_OUT") => Ok(Decision::SoldOut),
                    _ => Err(format!("the service answered {status}: {text}").into()),
                };
            }
        }
    }
}

/// The status and the body, when all of it is there.
fn parse(bytes: &[u8]) -> Option<(u16, String)> {
    let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..head_end)?).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?
        .1
        .trim()
        .parse()
        .ok()?;
    let body = bytes.get(head_end + 4..head_end + 4 + length)?;
    Some((status, String::from_utf8_lossy(body).into_owned()))
}
