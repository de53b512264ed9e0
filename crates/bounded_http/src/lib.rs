//! An HTTP/1.1 server for [poem](https://docs.rs/poem) endpoints in which every wait, buffer and connection has a
//! bound. It does not know what the requests mean.
//!
//! | file | owns |
//! |---|---|
//! | `server` | accepts connections, limits them, and drains them at shutdown |
//! | `connection` | one connection: requests, responses, time limits |
//! | `phase` | whether a connection waits for its client or for the service |
//! | `host` | the `Host` of a request |
//! | `tls` | the certificate, the handshake, and how the certificate is replaced |
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! use bounded_http::{Config, TotalLimit, listen, serve};
//! use poem::endpoint::make_sync;
//!
//! let listener = listen("127.0.0.1:8080".parse().unwrap())?;
//! let endpoint = make_sync(|_| poem::Response::builder().body("hello"));
//! serve(listener, endpoint, &Config::default(), TotalLimit::new(10_000)).await
//! # }
//! ```

mod connection;
#[cfg(any(test, fuzzing, feature = "fuzz"))]
pub mod fuzz;
mod host;
mod phase;
mod server;
mod stream;
mod tls;

pub use self::connection::OverLimit;
pub use self::host::{Host, InvalidHost};
pub use self::server::{Config, ConnectionLimit, Exceeded, TotalLimit, listen, serve};
pub use self::tls::{CertificateFiles, Tls, TlsError};
