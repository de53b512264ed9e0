//! Offers participations at a given rate and tells what became of them. The load is open: when each
//! request is due is fixed beforehand, and its latency counts from then, however late the answers to
//! earlier ones are. A generator that waits for answers first measures a service that is too busy to
//! be asked, and finds it quick (coordinated omission).
//!
//! `open_load ADDRESS PATH RATE SECONDS CONNECTIONS FIRST_USER [WARM_SECONDS]`: with a rate of 0 the load is closed,
//! and every connection asks again as soon as it is answered. Every request is another user. A request
//! that finds no connection free within a second of its time is given up: whoever sent it has left.
//! Answers to requests of the first `WARM_SECONDS`, of `SECONDS` in all, are counted, and their latency is not.
//! Prints one JSON object; times are in milliseconds, from when a request was due, and `sentP99` from when
//! it could be sent: where the two are far apart, connections were lacking.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How late a request may begin.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(15);

struct Plan {
    address: SocketAddr,
    path: String,
    /// Requests a second; 0: as many as are answered.
    rate: u32,
    first_user: u64,
    begins: Instant,
    /// From when on latencies are written down.
    warm: Instant,
    ends: Instant,
    next: Cell<u32>,
    seen: RefCell<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Microseconds since due and since sent, by status.
    answers: BTreeMap<u16, Vec<(u32, u32)>>,
    /// Those that were due before it was warm, by status.
    early: BTreeMap<u16, usize>,
    /// Requests no connection was free for.
    given_up: u32,
    /// Connections that broke, or answers that never came.
    broken: u32,
    /// Refusals for load that did not say when to come back.
    without_retry_after: u32,
}

struct Answer {
    status: u16,
    /// Whether the service closes the connection.
    closes: bool,
    retry_after: bool,
}

impl Plan {
    /// The number of the next request and when it is due.
    fn claim(&self) -> Option<(u32, Instant)> {
        let number = self.next.get();
        let due = if self.rate == 0 {
            Instant::now()
        } else {
            self.begins + Duration::from_secs(1) * number / self.rate
        };
        if due >= self.ends {
            return None;
        }
        self.next.set(number + 1);
        Some((number, due))
    }

    fn request(&self, number: u32) -> String {
        let body = format!("{{\"userId\":{}}}", self.first_user + u64::from(number));
        format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.path,
            self.address,
            body.len()
        )
    }
}

/// One connection: takes the next request, waits until it is due, asks, and writes down how long it
/// took.
async fn connection(plan: Rc<Plan>, mut stream: Option<TcpStream>) {
    let mut buffer = Vec::with_capacity(4_096);
    while let Some((number, due)) = plan.claim() {
        if due > Instant::now() {
            sleep_until(due).await;
        } else if due + PATIENCE < Instant::now() {
            plan.seen.borrow_mut().given_up += 1;
            continue;
        }
        let sent = Instant::now();
        let asked = timeout(ANSWER_MAX, ask(&plan, &mut stream, &mut buffer, number)).await;
        let took = (micros(due), micros(sent));
        let mut seen = plan.seen.borrow_mut();
        if let Ok(Ok(answer)) = asked {
            if due < plan.warm {
                *seen.early.entry(answer.status).or_default() += 1;
            } else {
                seen.answers.entry(answer.status).or_default().push(took);
            }
            let load = matches!(answer.status, 429 | 503);
            seen.without_retry_after += u32::from(load && !answer.retry_after);
            if answer.closes {
                stream = None;
            }
        } else {
            seen.broken += 1;
            stream = None;
        }
    }
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

async fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn ask(
    plan: &Plan,
    stream: &mut Option<TcpStream>,
    buffer: &mut Vec<u8>,
    number: u32,
) -> std::io::Result<Answer> {
    let stream = if let Some(stream) = stream {
        stream
    } else {
        stream.insert(open(plan.address).await?)
    };
    stream.write_all(plan.request(number).as_bytes()).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = parse(buffer) {
            return Ok(answer);
        }
    }
}

/// The answer, when all of it is there.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..head_end)?).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer {
        status,
        closes: false,
        retry_after: false,
    };
    let mut length = 0;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        } else if name.eq_ignore_ascii_case("connection") {
            answer.closes = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("retry-after") {
            answer.retry_after = true;
        }
    }
    (bytes.len() >= head_end + 4 + length).then_some(answer)
}

/// A quantile, in thousandths, of sorted values in microseconds; in milliseconds.
fn quantile(sorted: &[u32], per_mille: usize) -> f64 {
    let at = (sorted.len() * per_mille / 1_000).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(0.0, |micros| f64::from(*micros) / 1e3)
}

fn told(plan: &Plan, took: Duration) -> serde_json::Value {
    let seen = plan.seen.take();
    let group = |statuses: &[u16]| {
        let all = || {
            let with = seen.answers.iter();
            with.filter(|(status, _)| statuses.contains(status))
                .flat_map(|(_, times)| times.iter())
        };
        let mut due: Vec<u32> = all().map(|(due, _)| *due).collect();
        let mut sent: Vec<u32> = all().map(|(_, sent)| *sent).collect();
        due.sort_unstable();
        sent.sort_unstable();
        serde_json::json!({
            "count": due.len(),
            "p50": quantile(&due, 500),
            "p95": quantile(&due, 950),
            "p99": quantile(&due, 990),
            "max": quantile(&due, 1_000),
            "sentP99": quantile(&sent, 990),
        })
    };
    let mut statuses = seen.early.clone();
    for (status, times) in &seen.answers {
        *statuses.entry(*status).or_default() += times.len();
    }
    serde_json::json!({
        "seconds": took.as_secs_f64(),
        "asked": plan.next.get(),
        "statuses": statuses,
        "admitted": group(&[201, 409]),
        "refused": group(&[429, 503]),
        "givenUp": seen.given_up,
        "broken": seen.broken,
        "withoutRetryAfter": seen.without_retry_after,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [
        address,
        path,
        rate,
        seconds,
        connections,
        first_user,
        more @ ..,
    ] = &arguments[..]
    else {
        return Err(
            "open_load ADDRESS PATH RATE SECONDS CONNECTIONS FIRST_USER [WARM_SECONDS]".into(),
        );
    };
    let warm = Duration::from_secs(more.first().map_or(Ok(0), |warm| warm.parse())?);
    let (address, rate): (SocketAddr, u32) = (address.parse()?, rate.parse()?);
    let connections: usize = connections.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Those that are asked over within the first second are there when it begins.
    let early = match rate {
        0 => connections,
        rate => connections.min(usize::try_from(rate)?),
    };
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..early {
        streams.push(runtime.block_on(open(address)).ok());
    }
    streams.resize_with(connections, || None);
    let begins = Instant::now();
    let plan = Rc::new(Plan {
        address,
        path: path.clone(),
        rate,
        first_user: first_user.parse()?,
        begins,
        warm: begins + warm,
        ends: begins + Duration::from_secs(seconds.parse()?),
        next: Cell::new(0),
        seen: RefCell::default(),
    });
    let local = LocalSet::new();
    for stream in streams {
        local.spawn_local(connection(Rc::clone(&plan), stream));
    }
    runtime.block_on(local);
    writeln!(std::io::stdout(), "{}", told(&plan, begins.elapsed()))?;
    Ok(())
}
