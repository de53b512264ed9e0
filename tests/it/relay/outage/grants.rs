//! Write permissions for topics. librdkafka's binding has no call for them, so the request is written here byte
//! by byte: `CreateAcls`, version 1, from the protocol guide of Apache Kafka.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Codes of the protocol.
const CREATE_ACLS: i16 = 30;
const VERSION: i16 = 1;
const TOPIC: u8 = 2;
const LITERAL: u8 = 3;
const ALLOW: u8 = 3;

/// The permission of a grant.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Operation {
    All = 2,
    /// To check that it exists.
    Read = 3,
}

/// Clients without a name.
pub const EVERYBODY_HERE: &str = "User:ANONYMOUS";

/// Permits an operation on a topic to `principal`, which denies the topic to all users without a grant.
pub async fn grant(broker: &str, topic: &str, principal: &str, operation: Operation) {
    let mut request = Vec::new();
    request.extend(CREATE_ACLS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    let correlation = 7_i32;
    request.extend(correlation.to_be_bytes());
    text(&mut request, "a-test");
    request.extend(1_i32.to_be_bytes());
    request.push(TOPIC);
    text(&mut request, topic);
    request.push(LITERAL);
    text(&mut request, principal);
    text(&mut request, "*");
    request.extend([operation as u8, ALLOW]);

    let mut broker = TcpStream::connect(broker).await.unwrap();
    let length = i32::try_from(request.len()).unwrap();
    broker.write_all(&length.to_be_bytes()).await.unwrap();
    broker.write_all(&request).await.unwrap();
    let length = broker.read_i32().await.unwrap();
    assert_eq!(broker.read_i32().await.unwrap(), correlation);
    let _throttled_ms = broker.read_i32().await.unwrap();
    assert_eq!(broker.read_i32().await.unwrap(), 1, "results");
    let error = broker.read_i16().await.unwrap();
    assert_eq!(error, 0, "error of CreateAcls; {length} bytes of answer");
}

fn text(request: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).unwrap();
    request.extend(length.to_be_bytes());
    request.extend(text.as_bytes());
}
