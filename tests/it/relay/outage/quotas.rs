//! Quotas of clients. librdkafka's binding has no call for them, so the request is written here byte by byte:
//! `AlterClientQuotas`, version 0, from the protocol guide of Apache Kafka.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ALTER_CLIENT_QUOTAS: i16 = 49;
const VERSION: i16 = 0;

/// Limits a client to this number of bytes per second; none: unlimited.
pub async fn limit(broker: &str, client_id: &str, bytes_a_second: Option<f64>) {
    let mut request = Vec::new();
    request.extend(ALTER_CLIENT_QUOTAS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    let correlation = 7_i32;
    request.extend(correlation.to_be_bytes());
    text(&mut request, "a-test");
    // One entry, about one client, with one quota.
    request.extend(1_i32.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    text(&mut request, "client-id");
    text(&mut request, client_id);
    request.extend(1_i32.to_be_bytes());
    text(&mut request, "producer_byte_rate");
    request.extend(bytes_a_second.unwrap_or_default().to_be_bytes());
    request.push(u8::from(bytes_a_second.is_none()));
    let only_validate = 0;
    request.push(only_validate);

    let mut broker = TcpStream::connect(broker).await.unwrap();
    let length = i32::try_from(request.len()).unwrap();
    broker.write_all(&length.to_be_bytes()).await.unwrap();
    broker.write_all(&request).await.unwrap();
    let _length = broker.read_i32().await.unwrap();
    assert_eq!(broker.read_i32().await.unwrap(), correlation);
    let _throttled_ms = broker.read_i32().await.unwrap();
    assert_eq!(broker.read_i32().await.unwrap(), 1, "entries");
    let error = broker.read_i16().await.unwrap();
    assert_eq!(error, 0, "error of AlterClientQuotas");
}

fn text(request: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).unwrap();
    request.extend(length.to_be_bytes());
    request.extend(text.as_bytes());
}
