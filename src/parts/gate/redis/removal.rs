//! Removes the keys of an installation, when none of its processes runs: after a restore of an older database they are
//! of a future that is no more.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisResult, Value,
    from_redis_value,
};

use super::{Layout, RedisConfig};
use crate::parts::gate::start_error::StartError;

/// Keys that one command looks at.
const STEP: u32 = 1_000;

/// The slots of a cluster.
const SLOTS: u32 = 16_384;

/// Longest wait for a connection, and for the answer to one step. Nobody waits for these commands but an operator.
const ANSWER_MAX: Duration = Duration::from_secs(10);

fn limits() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_MAX))
        .set_response_timeout(Some(ANSWER_MAX))
}

impl RedisConfig {
    /// Removes all keys below a prefix, from every master. Returns their number.
    pub async fn remove_keys(&self, prefix: &str) -> Result<u64, StartError> {
        let first = self.nodes()?.into_iter().next();
        let first = first.ok_or(StartError::NoAddress)?;
        let address = first.addr().to_string();
        let failed = |source| StartError::Connect { address, source };
        let masters = match self.layout() {
            Layout::Single => vec![first],
            Layout::Cluster => match masters(self.client_to(first.clone())?, &first).await {
                Ok(masters) => masters,
                Err(source) => return Err(failed(source)),
            },
        };
        let mut removed = 0;
        for master in masters {
            let address = master.addr().to_string();
            let of_master = remove(self.client_to(master)?, prefix).await;
            removed += of_master.map_err(|source| StartError::Connect { address, source })?;
        }
        Ok(removed)
    }
}

/// The masters of a cluster, which own all slots: an unowned slot may have keys on a master that is away.
async fn masters(client: Client, like: &ConnectionInfo) -> RedisResult<Vec<ConnectionInfo>> {
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&limits())
        .await?;
    let mut command = redis::cmd("CLUSTER");
    let slots: Vec<Vec<Value>> = command.arg("SLOTS").query_async(&mut connection).await?;
    let mut addresses: Vec<(String, u16)> = Vec::new();
    let mut owned = 0;
    for range in slots {
        // Its first slot, its last, its master, its replicas.
        let mut words = range.into_iter();
        let (Some(first), Some(last), Some(master)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let mut master = Vec::<Value>::into_iter(from_redis_value(master)?);
        if let (Some(host), Some(port)) = (master.next(), master.next()) {
            addresses.push((from_redis_value(host)?, from_redis_value(port)?));
            let end = from_redis_value::<u32>(last)?.saturating_add(1);
            owned += end.saturating_sub(from_redis_value(first)?);
        }
    }
    if owned != SLOTS {
        let what = format!("{owned} of {SLOTS} slots");
        let message = "the cluster does not own all slots";
        return Err((ErrorKind::Client, message, what).into());
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses.into_iter().map(|to| at(like, to)).collect())
}

/// The same settings at another address.
fn at(like: &ConnectionInfo, (host, port): (String, u16)) -> ConnectionInfo {
    let address = match like.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    like.clone().set_addr(address)
}

async fn remove(client: Client, prefix: &str) -> RedisResult<u64> {
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&limits())
        .await?;
    let pattern = format!("{}:*", literal(prefix));
    let (mut cursor, mut removed) = (0_u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern);
        let step = scan.arg("COUNT").arg(STEP).query_async(&mut connection);
        let (next, keys): (u64, Vec<String>) = step.await?;
        // One key for each command: in a cluster, keys of one command must share a slot.
        let mut unlink = redis::pipe();
        for key in &keys {
            unlink.cmd("UNLINK").arg(key);
        }
        if !keys.is_empty() {
            let counts: Vec<u64> = unlink.query_async(&mut connection).await?;
            removed += counts.iter().sum::<u64>();
        }
        if next == 0 {
            return Ok(removed);
        }
        cursor = next;
    }
}

/// A pattern that matches only this text.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_prefix_matches_only_itself() {
        assert_eq!(literal("a*b?[c]"), "a\\*b\\?\\[c\\]");
        assert_eq!(literal("firstcome"), "firstcome");
    }
}
