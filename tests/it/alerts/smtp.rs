//! A receiver of e-mails: the part of SMTP that a client without extensions uses.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// The message is accepted.
    Accept,
    /// The recipient is refused with this status.
    Refuse(u16),
    /// The log-in is refused.
    RefuseLogin,
    /// No response, not even a greeting.
    Silence,
    /// The connection is closed once the message is there, before it is acknowledged.
    CloseAfterMessage,
}

/// A message that was accepted or read to its end.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// `USER:PASSWORD`.
    pub login: Option<String>,
    /// Header and body.
    pub text: String,
}

/// A server whose connections end like these in order, and then like the last one.
pub struct MailServer {
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    connections: Arc<AtomicUsize>,
}

impl MailServer {
    pub async fn answering(answers: &'static [Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mails, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let server = Self {
            port,
            mails: Arc::clone(&mails),
            connections: Arc::clone(&connections),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let nth = connections.fetch_add(1, Ordering::SeqCst);
                let answer = answers[nth.min(answers.len() - 1)];
                // A client that disconnects ends its connection.
                tokio::spawn(serve(stream, answer, Arc::clone(&mails)));
            }
        });
        server
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(
    stream: TcpStream,
    answer: Answer,
    mails: Arc<Mutex<Vec<Mail>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut mail = Mail::default();
    if matches!(answer, Answer::Silence) {
        // Until the client closes the connection.
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        return Ok(());
    }
    stream.write_all(b"220 mail.example ESMTP\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let reply = match word {
            "EHLO" => "250-mail.example\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" if matches!(answer, Answer::RefuseLogin) => "535 5.7.8 no".to_owned(),
            "AUTH" => {
                mail.login = rest.strip_prefix("PLAIN ").map(login);
                "235 2.7.0 yes".to_owned()
            }
            "MAIL" => {
                mail.from = path(rest);
                "250 2.1.0 yes".to_owned()
            }
            "RCPT" => {
                mail.to.push(path(rest));
                match answer {
                    Answer::Refuse(status) => format!("{status} no"),
                    _ => "250 2.1.5 yes".to_owned(),
                }
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                mail.text = data(&mut stream).await?;
                mails.lock().unwrap().push(mail.clone());
                if matches!(answer, Answer::CloseAfterMessage) {
                    return Ok(());
                }
                "250 2.0.0 accepted".to_owned()
            }
            "QUIT" => "221 2.0.0 bye".to_owned(),
            _ => "500 5.5.2 what".to_owned(),
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        if word == "QUIT" {
            return Ok(());
        }
    }
}

/// The lines of a message up to the line with a single full stop.
async fn data(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line.is_empty() || line == ".\r\n" {
            return Ok(text);
        }
        text.push_str(&line);
    }
}

/// The address in `FROM:<…>` or `TO:<…>`.
fn path(rest: &str) -> String {
    let (_, rest) = rest.split_once('<').unwrap();
    rest.split_once('>').unwrap().0.to_owned()
}

fn login(encoded: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.trim_start_matches('\0').replace('\0', ":")
}
