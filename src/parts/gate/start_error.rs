//! Why the gate cannot be set up.

/// Why the gate could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The prefix would break the hash tag that keeps a campaign's keys on one Redis Cluster node.
    #[error("use {0:?} as the prefix of the gate's keys: it must not contain braces")]
    Prefix(String),
    /// The URL of Redis is invalid.
    #[error("read the URL of Redis")]
    Url(#[source] redis::RedisError),
    /// There is no address of Redis.
    #[error("find Redis: there is no address")]
    NoAddress,
    /// Redis is unreachable, or rejects the connection.
    #[error("connect to Redis at {address}")]
    Connect {
        /// Host and port, without credentials.
        address: String,
        /// What went wrong.
        #[source]
        source: redis::RedisError,
    },
    /// The in-process engine rejected the scripts.
    #[error("load the gate's scripts")]
    Scripts(#[source] mlua::Error),
}
