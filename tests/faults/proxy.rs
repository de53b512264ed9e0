//! A TCP proxy between a replica and a part that misbehaves on demand. It does not interpret the data.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a connection that lost a reply stays open afterwards.
const CLOSES_AFTER: Duration = Duration::from_millis(400);

/// The treatment of bytes by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forwards them.
    Pass,
    /// Accepts connections and their data, forwards nothing in either direction, and never closes. Connections
    /// that lost data are closed when the mode ends.
    Swallow,
    /// Forwards requests, drops responses, and closes some time after the first dropped response.
    LoseReplies,
    /// Accepts no connection.
    Refuse,
    /// Forwards everything except requests with these bytes, which are forwarded when the mode ends, together
    /// with the later requests of their connection. Responses are forwarded.
    Hold(&'static [u8]),
}

/// The bytes that sqlx sends to MySQL to commit.
pub const COMMIT: &[u8] = b"\x03COMMIT";

/// The current mode of all connections.
#[derive(Clone, Copy, Debug)]
struct Order {
    mode: Mode,
    /// Incremented to cut all connections.
    cuts: u64,
    /// Incremented to make all connections silent.
    silences: u64,
    /// The target of new connections.
    target: SocketAddr,
}

/// Counts deviations from a transparent proxy.
#[derive(Debug, Default)]
pub struct Harm {
    pub swallowed_bytes: AtomicU64,
    pub lost_reply_bytes: AtomicU64,
    pub cut_connections: AtomicU64,
    pub refused_connections: AtomicU64,
    pub held_bytes: AtomicU64,
}

impl Harm {
    /// The sum of all counts, to check whether a fault had an effect.
    pub fn total(&self) -> u64 {
        [
            &self.swallowed_bytes,
            &self.lost_reply_bytes,
            &self.cut_connections,
            &self.refused_connections,
            &self.held_bytes,
        ]
        .iter()
        .map(|count| count.load(Ordering::SeqCst))
        .sum()
    }
}

pub struct Proxy {
    pub address: SocketAddr,
    pub harm: Arc<Harm>,
    order: watch::Sender<Order>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on its own port, and forwards to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let harm = Arc::new(Harm::default());
        let (order, orders) = watch::channel(Order {
            mode: Mode::Pass,
            cuts: 0,
            silences: 0,
            target,
        });
        let accepting = tokio::spawn(accept(listener, orders, Arc::clone(&harm)));
        Self {
            address,
            harm,
            order,
            accepting,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.order.send_modify(|order| order.mode = mode);
    }

    /// Connects new connections to another target; existing ones stay.
    pub fn redirect(&self, target: SocketAddr) {
        self.order.send_modify(|order| order.target = target);
    }

    /// Closes every connection at once.
    pub fn cut(&self) {
        self.order.send_modify(|order| order.cuts += 1);
    }

    /// Makes the current connections accept data and answer nothing, forever, as behind a firewall that has dropped
    /// them, while their servers have noticed. New connections are forwarded.
    pub fn silence(&self) {
        self.order.send_modify(|order| order.silences += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, orders: watch::Receiver<Order>, harm: Arc<Harm>) {
    while let Ok((client, _)) = listener.accept().await {
        if orders.borrow().mode == Mode::Refuse {
            harm.refused_connections.fetch_add(1, Ordering::SeqCst);
            // With a linger time of zero, the peer gets a reset.
            client.set_zero_linger().ok();
            continue;
        }
        tokio::spawn(carry(client, orders.clone(), Arc::clone(&harm)));
    }
}

/// The direction of bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

async fn carry(client: TcpStream, mut orders: watch::Receiver<Order>, harm: Arc<Harm>) {
    client.set_nodelay(true).ok();
    let began = *orders.borrow_and_update();
    if began.mode == Mode::Swallow {
        // The server is not contacted; the client waits for its greeting.
        let hole = swallow_all(client, &harm);
        tokio::select! {
            () = hole => {}
            () = ended(&mut orders, began) => {}
        }
        return;
    }
    let Ok(server) = TcpStream::connect(began.target).await else {
        return;
    };
    server.set_nodelay(true).ok();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    {
        let requests = Pump {
            way: Way::Request,
            orders: orders.clone(),
        };
        let replies = Pump {
            way: Way::Reply,
            orders: orders.clone(),
        };
        let mut for_cut = orders.clone();
        tokio::select! {
            () = requests.run(&mut from_client, &mut to_server, &harm) => return,
            () = replies.run(&mut from_server, &mut to_client, &harm) => return,
            () = cut(&mut for_cut, began.cuts) => {
                harm.cut_connections.fetch_add(1, Ordering::SeqCst);
                return;
            }
            () = silenced(&mut orders, began.silences) => {}
        }
    }
    // The server closed its end and released its resources; the client does not learn of it.
    drop((from_server, to_server));
    tokio::select! {
        () = drain(&mut from_client, &harm.swallowed_bytes) => {}
        () = cut(&mut orders, began.cuts) => {}
    }
}

/// Waits until connections are cut.
async fn cut(orders: &mut watch::Receiver<Order>, cuts: u64) {
    orders.wait_for(|order| order.cuts != cuts).await.ok();
}

/// Waits until connections must become silent.
async fn silenced(orders: &mut watch::Receiver<Order>, silences: u64) {
    let later = |order: &Order| order.silences != silences;
    orders.wait_for(later).await.ok();
}

/// Waits until the mode changes, or connections are cut.
async fn ended(orders: &mut watch::Receiver<Order>, began: Order) {
    let other = |order: &Order| order.cuts != began.cuts || order.mode != began.mode;
    orders.wait_for(other).await.ok();
}

async fn swallow_all(mut client: TcpStream, harm: &Harm) {
    let mut bytes = [0; 4_096];
    while let Ok(read @ 1..) = client.read(&mut bytes).await {
        harm.swallowed_bytes
            .fetch_add(read as u64, Ordering::SeqCst);
    }
}

/// One direction of one connection.
struct Pump {
    way: Way,
    orders: watch::Receiver<Order>,
}

impl Pump {
    /// Forwards until it ends, or must be closed.
    async fn run(mut self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, harm: &Harm) {
        let mut bytes = vec![0; 16 * 1_024];
        loop {
            let Ok(read @ 1..) = from.read(&mut bytes).await else {
                return;
            };
            let now = *self.orders.borrow_and_update();
            match (now.mode, self.way) {
                (Mode::Swallow, _) => {
                    let swallowed = &harm.swallowed_bytes;
                    swallowed.fetch_add(read as u64, Ordering::SeqCst);
                    // From here on the two ends have different states, so the connection cannot continue.
                    tokio::select! {
                        () = drain(from, swallowed) => {}
                        () = ended(&mut self.orders, now) => {}
                    }
                    return;
                }
                (Mode::LoseReplies, Way::Reply) => {
                    let lost = &harm.lost_reply_bytes;
                    lost.fetch_add(read as u64, Ordering::SeqCst);
                    tokio::time::timeout(CLOSES_AFTER, drain(from, lost))
                        .await
                        .ok();
                    return;
                }
                (mode, Way::Request) if is_held(mode, &bytes[..read]) => {
                    harm.held_bytes.fetch_add(read as u64, Ordering::SeqCst);
                    ended(&mut self.orders, now).await;
                    if to.write_all(&bytes[..read]).await.is_err() {
                        return;
                    }
                }
                _ => {
                    if to.write_all(&bytes[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Whether a request waits for the end of the mode.
fn is_held(mode: Mode, bytes: &[u8]) -> bool {
    let Mode::Hold(wanted) = mode else {
        return false;
    };
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

async fn drain(from: &mut OwnedReadHalf, lost: &AtomicU64) {
    let mut bytes = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        lost.fetch_add(read as u64, Ordering::SeqCst);
    }
    // The other end closed; this end still waits.
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every byte with the same byte, and the proxy before it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = peer.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        Proxy::start(address).await
    }

    /// The response to one byte: the byte, the end, or nothing in time.
    #[derive(Debug, PartialEq, Eq)]
    enum Heard {
        Echo,
        End,
        Nothing,
    }

    async fn say(stream: &mut TcpStream) -> Heard {
        if stream.write_all(b"x").await.is_err() {
            return Heard::End;
        }
        let mut byte = [0];
        match tokio::time::timeout(Duration::from_millis(150), stream.read(&mut byte)).await {
            Ok(Ok(1)) => Heard::Echo,
            Ok(_) => Heard::End,
            Err(_) => Heard::Nothing,
        }
    }

    #[tokio::test]
    async fn the_proxy_forwards_until_it_is_cut() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut stream).await, Heard::Echo);
        assert_eq!(proxy.harm.total(), 0);
        proxy.cut();
        assert_eq!(say(&mut stream).await, Heard::End);
        assert_eq!(proxy.harm.cut_connections.load(Ordering::SeqCst), 1);
        let mut again = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut again).await, Heard::Echo);
    }

    #[tokio::test]
    async fn a_swallowed_request_gets_no_answer_and_the_connection_closes_later() {
        let proxy = echo().await;
        let mut old = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut old).await, Heard::Echo);
        proxy.set(Mode::Swallow);
        let mut new = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut old).await, Heard::Nothing);
        assert_eq!(say(&mut new).await, Heard::Nothing);
        assert_eq!(proxy.harm.swallowed_bytes.load(Ordering::SeqCst), 2);
        proxy.set(Mode::Pass);
        assert_eq!(say(&mut old).await, Heard::End);
        assert_eq!(say(&mut new).await, Heard::End);
    }

    #[tokio::test]
    async fn silent_connections_stay_silent_and_new_ones_work() {
        let proxy = echo().await;
        let mut old = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut old).await, Heard::Echo);
        proxy.silence();
        let mut new = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut new).await, Heard::Echo);
        assert_eq!(say(&mut old).await, Heard::Nothing);
        proxy.set(Mode::Pass);
        assert_eq!(say(&mut old).await, Heard::Nothing);
        proxy.cut();
        assert_eq!(say(&mut old).await, Heard::End);
    }

    #[tokio::test]
    async fn a_lost_reply_closes_the_connection() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut stream).await, Heard::Echo);
        proxy.set(Mode::LoseReplies);
        assert_eq!(say(&mut stream).await, Heard::Nothing);
        assert_eq!(proxy.harm.lost_reply_bytes.load(Ordering::SeqCst), 1);
        let ended = async { while say(&mut stream).await != Heard::End {} };
        tokio::time::timeout(CLOSES_AFTER * 50, ended)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_redirect_keeps_the_existing_connections() {
        let (proxy, nowhere) = (
            echo().await,
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let mut old = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut old).await, Heard::Echo);
        proxy.redirect(nowhere.local_addr().unwrap());
        let mut new = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut new).await, Heard::Nothing);
        assert_eq!(say(&mut old).await, Heard::Echo);
    }

    #[tokio::test]
    async fn only_the_delayed_commit_waits_for_the_end_of_the_mode() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        proxy.set(Mode::Hold(COMMIT));
        assert_eq!(say(&mut stream).await, Heard::Echo);
        assert_eq!(proxy.harm.total(), 0);
        stream.write_all(COMMIT).await.unwrap();
        assert_eq!(say(&mut stream).await, Heard::Nothing);
        proxy.set(Mode::Pass);
        let mut echoed = vec![0; COMMIT.len() + 1];
        stream.read_exact(&mut echoed).await.unwrap();
        assert_eq!(echoed, [COMMIT, b"x"].concat());
        assert_eq!(proxy.harm.total(), COMMIT.len() as u64);
    }

    #[tokio::test]
    async fn a_refused_connection_ends_at_once() {
        let proxy = echo().await;
        proxy.set(Mode::Refuse);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(say(&mut stream).await, Heard::End);
    }
}
