//! Shared helpers of the tests of tokens: keys, hand-made tokens, so that any can be forged, and an issuer that
//! serves its keys over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use ring::{hmac, rsa};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "firstcome";
pub const SECRET: &str = "a secret of a test, which has more than 32 bytes";

/// The authority that signs the certificate of an issuer's address.
pub const AUTHORITY: &str = include_str!("keys/ca.pem");

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Pair {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Ed25519KeyPair),
}

/// A key that signs tokens.
pub struct Key {
    pub name: String,
    pair: Pair,
}

impl Key {
    pub fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self {
            name: "secret".to_owned(),
            pair: Pair::Secret(secret.as_ref().to_vec()),
        }
    }

    /// The issuer's key for RS256.
    pub fn rsa(name: &str) -> Self {
        Self::of_pem(name, include_str!("keys/rsa-issuer.pem"))
    }

    /// Another key for RS256, which the issuer does not have.
    pub fn forged_rsa(name: &str) -> Self {
        Self::of_pem(name, include_str!("keys/rsa-forger.pem"))
    }

    fn of_pem(name: &str, pem: &str) -> Self {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        Self {
            name: name.to_owned(),
            pair: Pair::Rsa(Box::new(pair)),
        }
    }

    /// A new key for ES256.
    pub fn ec(name: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap();
        Self {
            name: name.to_owned(),
            pair: Pair::Ec(Box::new(pair)),
        }
    }

    /// A new key for `EdDSA`.
    pub fn ed(name: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self {
            name: name.to_owned(),
            pair: Pair::Ed(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap()),
        }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Secret(_) => "HS256",
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// Its public part as issuers write it; for a secret, the secret.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Secret(secret) => json!({ "kty": "oct", "k": encode(secret) }),
            Pair::Rsa(pair) => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": encode(public.n), "e": encode(public.e) })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) })
            }
        };
        jwk["kid"] = json!(self.name);
        jwk
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, whatever they contain.
    pub fn sign_as(&self, head: &Value, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            encode(head.to_string()),
            encode(claims.to_string())
        );
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }

    /// A correct token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let head = json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.name });
        self.sign_as(&head, claims)
    }
}

/// A key set of these keys.
pub fn key_set(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

/// Claims of a user for an hour from `now`, seconds since the Unix epoch, with these added or replaced.
pub fn claims_at(now: i64, more: &Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "42", "exp": now + 3_600 });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// The same from now on.
pub fn claims(more: &Value) -> Value {
    let now = firstcome::runtime::clock::Clock::System.now().timestamp();
    claims_at(now, more)
}

/// The response of an issuer.
#[derive(Clone)]
pub enum Answer {
    Keys(Value),
    /// This number of bytes, and no key set.
    Much(usize),
    Redirect,
    Fails,
    /// No response.
    Hangs,
}

/// An issuer's address.
pub struct Issuer {
    pub url: String,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    pub async fn http(answer: Answer) -> Self {
        Self::start("http", answer, None).await
    }

    pub async fn https(answer: Answer) -> Self {
        let chain = CertificateDer::from_pem_slice(include_bytes!("keys/server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("keys/server-key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start("https", answer, Some(acceptor)).await
    }

    async fn start(scheme: &str, answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = Self {
            url: format!("{scheme}://localhost:{port}/keys"),
            answer: Arc::new(Mutex::new(answer)),
            asked: Arc::default(),
        };
        let (answer, asked) = (Arc::clone(&issuer.answer), Arc::clone(&issuer.asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                tokio::spawn(serve(stream, tls.clone(), answer, asked));
            }
        });
        issuer
    }

    /// From now on it responds like this.
    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Number of requests.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
) {
    match tls {
        None => say(stream, &answer, &asked).await,
        Some(tls) => {
            // A client that does not trust the certificate sends no request.
            if let Ok(stream) = tls.accept(stream).await {
                say(stream, &answer, &asked).await;
            }
        }
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &Mutex<Answer>,
    asked: &AtomicUsize,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = answer.lock().unwrap().clone();
    let (status, body) = match answer {
        Answer::Keys(keys) => ("200 OK", keys.to_string()),
        Answer::Much(bytes) => ("200 OK", " ".repeat(bytes)),
        Answer::Redirect => ("302 Found\r\nlocation: /elsewhere", String::new()),
        Answer::Fails => ("503 Service Unavailable", String::new()),
        Answer::Hangs => std::future::pending().await,
    };
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
    // The client may have closed the connection.
    stream.write_all(text.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
