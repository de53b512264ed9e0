//! The metrics of the service: name, type, labels and documentation of each, in one table. Owners register them by
//! these declarations, and the tables of `docs/metrics.md` are made from them.

use super::words::words;

words! {
    /// The type of a metric.
    pub enum MetricKind {
        /// It only grows.
        Counter = "counter",
        /// It goes up and down.
        Gauge = "gauge",
        /// Observations by size.
        Histogram = "histogram",
    }
}

/// A metric as it is declared. Texts are Markdown.
#[derive(Debug)]
pub struct Metric {
    /// Its name in queries: a counter with `_total`.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// When it exists: `always`, or the condition.
    pub seen: &'static str,
    /// What it measures.
    pub help: &'static str,
    /// What to look at.
    pub look: &'static str,
}

impl Metric {
    /// The row of the documentation.
    fn row(&self) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let cells = [
            format!("`{}`", self.name),
            self.kind.as_str().to_owned(),
            labels.join(", "),
            self.seen.to_owned(),
            self.help.to_owned(),
            self.look.to_owned(),
        ];
        let row = cells
            .iter()
            .fold(String::from("|"), |row, cell| match cell.as_str() {
                "" => row + " |",
                cell => row + " " + cell + " |",
            });
        row + "\n"
    }
}

macro_rules! metrics {
    ($($heading:literal { $($name:ident: $kind:ident $metric:literal [$($label:literal),*] $seen:literal $help:literal $look:literal;)+ })+) => {
        $($(
            #[doc = $help]
            pub const $name: Metric = Metric {
                name: $metric,
                kind: MetricKind::$kind,
                labels: &[$($label),*],
                seen: $seen,
                help: $help,
                look: $look,
            };
        )+)+

        /// All metrics, by the headings of the documentation.
        pub const ALL: &[(&str, &[Metric])] = &[$(($heading, &[$($name),+])),+];
    };
}

metrics! {
    "HTTP and traces" {
        HTTP_REQUESTS: Counter "http_requests_total" ["route", "method", "status"] "always"
            "Requests answered"
            "`POST /api/campaigns/{id}/participation`: `2xx` are accepted, `4xx` rejected (sold out, duplicate, …), `5xx` not served: mostly `BUSY`, which is intended under overload";
        HTTP_REQUEST_DURATION_SECONDS: Histogram "http_request_duration_seconds" ["route", "method"] "always"
            "From the head of a request to the head of its response, for all responses"
            "The 99th percentile on the route of participations. If it is far above `writer.wait_max`, the store is slow";
        HTTP_REQUESTS_IN_FLIGHT: Gauge "http_requests_in_flight" [] "always"
            "Requests in progress"
            "Near `http.concurrent_requests_max`, further requests get 503";
        HTTP_BOUNDS_REFUSED: Counter "firstcome_http_bounds_refused_total" ["of", "bound"] "once one was rejected"
            "Rejections because too many of these were in progress at once: `connections`, `bodies` that did not arrive with their head, live `streams`, `pages` being sent. The bound is for one `address`, or for `all`"
            "`address`: a client exceeds its bound, or a proxy is missing from `http.trusted_proxies`. `all`: the bound is too low for the traffic";
        TRACE_EXPORTS: Counter "firstcome_trace_exports_total" ["result"] "once spans were sent, with `traces.endpoint` set"
            "Batches of spans sent to the collector: `sent`, `refused` by it, or `failed`"
            "`refused`: the address or `traces.headers` are wrong. `failed`: the collector is unavailable; only spans are lost";
    }
    "The clock" {
        CLOCK_AHEAD_SECONDS: Gauge "firstcome_clock_ahead_seconds" [] "always"
            "Seconds by which the machine's clock is ahead of the database's, negative if it is behind, as far as that is certain; read once a second, 0 on the embedded database"
            "More than a second either way: [FirstcomeClockOff](runbooks/FirstcomeClockOff.md)";
    }
    "The gate" {
        GATE_AWAY: Gauge "firstcome_gate_away" [] "always"
            "1 while the gate does not answer this process"
            "1 for more than a moment: [FirstcomeGateAway](runbooks/FirstcomeGateAway.md)";
        GATE_OUTAGES: Counter "firstcome_gate_outages_total" [] "always"
            "Outages of the gate"
            "Its rate; each outage costs a rebuild";
        GATE_REBUILDS: Counter "firstcome_gate_rebuilds_total" [] "always"
            "Gates of campaigns that were rebuilt from the store"
            "One per campaign after a start or an outage is normal, a steady rate is not";
        GATE_REBUILDS_DEFERRED: Counter "firstcome_gate_rebuilds_deferred_total" [] "always"
            "Rebuilds that waited for another rebuild of the same campaign, in progress or just ended"
            "Grows briefly with each rebuild, and steadily if gates repeatedly differ from the store";
        GATE_SETTINGS_CORRECTED: Counter "firstcome_gate_settings_corrected_total" [] "always"
            "Gates whose settings were older than those in the store, and were corrected by the sweeper"
            "Should not grow: it grows if a process dies after a change was committed and before the gate had it";
        GATE_MEMORY_USED_BYTES: Gauge "firstcome_gate_memory_used_bytes" [] "always"
            "Memory that Redis uses, in a cluster by its fullest node; read every 10 s, 0 without Redis"
            "Near `firstcome_gate_memory_limit_bytes`: [FirstcomeGateMemory](runbooks/FirstcomeGateMemory.md)";
        GATE_MEMORY_LIMIT_BYTES: Gauge "firstcome_gate_memory_limit_bytes" [] "always"
            "Memory that Redis may use: `maxmemory`, or the machine's if that is not set; 0 without Redis"
            "Compare it with the used memory";
        GATE_DISAGREEMENTS: Counter "firstcome_gate_disagreements_total" [] "always"
            "Gates that differed from the store and were rebuilt by the sweeper"
            "Should not grow: [FirstcomeGateDisagrees](runbooks/FirstcomeGateDisagrees.md)";
        GATE_LEASES_SWEPT: Counter "firstcome_gate_leases_swept_total" ["result"] "always"
            "Expired leases: `settled` were committed, `released` were not"
            "`released` grows after a process died; otherwise commits fail";
        GATE_DEAD_REPLICAS: Counter "firstcome_gate_dead_replicas_total" [] "always"
            "Dead replicas whose leases this replica ended"
            "Grows when a process dies or stops; otherwise a replica is cut off from the database";
        STATUS_READS: Counter "firstcome_status_reads_total" [] "always"
            "Reads of the live status of a campaign, one for all its viewers"
            "At most one per second and watched campaign, and one per request of the status";
        SYSTEM_READS: Counter "firstcome_system_reads_total" [] "always"
            "Reads of the state of the system for admins"
            "At most one per second, for any number of viewers";
        LIMITS_REFUSED: Counter "firstcome_limits_refused_total" ["of"] "once a rate was used up"
            "Requests answered 429, by rate: `address`, `user` or `campaign`"
            "Many `address`: a proxy is missing from `http.trusted_proxies`, or a client sends too much";
        LIMITS_UNASKED: Counter "firstcome_limits_unasked_total" [] "always"
            "Requests that were not counted against a rate because Redis was unavailable"
            "Grows only while the gate is unavailable";
        SECURITY_EVENTS: Counter "firstcome_security_events_total" ["event"] "once one happened"
            "[Security events](security-events.md), logged or not, by name"
            "Many `admin_token.refused`, `login.failed` or `token.refused`: somebody guesses credentials. `address.unknown`: a proxy sends unreadable client addresses, and these clients share the bounds of one address";
        SECURITY_EVENTS_DROPPED: Counter "firstcome_security_events_dropped_total" ["event"] "once one was not logged"
            "Security events that were counted and not logged"
            "Grows during a flood: raise `log.security_events_per_minute` to log more of them";
    }
    "The store" {
        STORE_UNREADABLE_ROWS: Gauge "firstcome_store_unreadable_rows" [] "always"
            "Rows skipped since the start of the process, because this release does not know their contents"
            "Should be 0: [FirstcomeUnreadableRows](runbooks/FirstcomeUnreadableRows.md)";
    }
    "The writer" {
        ADMISSION_SECONDS: Histogram "firstcome_admission_seconds" [] "always"
            "From the request for an admission to the gate's answer, on both paths: the wait for a call and the call itself"
            "A millisecond or two; more means that Redis is busy or saves its file";
        WRITER_QUEUE_SECONDS: Histogram "firstcome_writer_queue_seconds" [] "always"
            "From the admission to the beginning of its transaction; not on the synchronous path, which has one transaction per request"
            "As long as the previous transaction takes";
        WRITER_COMMIT_SECONDS: Histogram "firstcome_writer_commit_seconds" [] "always"
            "From the beginning of its transaction to its commit, on both paths, retries included"
            "The database's disk";
    }
    "The relay" {
        RELAY_PENDING: Gauge "firstcome_relay_pending" [] "always"
            "Events that wait to be published: after the position of their stream and not parked, or held by their request"
            "Should return to almost zero after a peak";
        RELAY_OLDEST_AGE_SECONDS: Gauge "firstcome_relay_oldest_age_seconds" [] "always"
            "Age of the oldest event after a position; parked ones do not count"
            "The most important metric of the relay: [FirstcomeOutboxOld](runbooks/FirstcomeOutboxOld.md)";
        RELAY_PARKED: Gauge "firstcome_relay_parked" ["state"] "always"
            "Parked events: `retry`, which includes those whose partition accepts no records; `blocked`; `dead`; and `discarded`, which are stored as a record"
            "`dead`: [FirstcomeDeadLetters](runbooks/FirstcomeDeadLetters.md); `blocked`: [FirstcomeKeysBlocked](runbooks/FirstcomeKeysBlocked.md)";
        RELAY_BLOCKED_KEYS: Gauge "firstcome_relay_blocked_keys" [] "always"
            "Keys of this relay's streams with events that wait behind a parked or held one"
            "As above";
        RELAY_PUBLISH: Counter "firstcome_relay_publish_total" ["result", "class"] "always"
            "Attempts to publish: `ok` with class `none`, or `failed` by class: `away`, `queue_full`, `destination`, `partition_away`, `record`, `possibly_delivered`, `fatal`, `unreadable`"
            "The rate of `ok` is events per second; any lasting `failed`: [FirstcomePublishFails](runbooks/FirstcomePublishFails.md)";
        RELAY_BREAKER_OPEN: Gauge "firstcome_relay_breaker_open" [] "always"
            "1 while publishing to the broker, a topic or a partition is paused"
            "[FirstcomeBrokerAway](runbooks/FirstcomeBrokerAway.md)";
        RELAY_PARTITIONS_AWAY: Gauge "firstcome_relay_partitions_away" [] "always"
            "Partitions that accept no records: their events are parked, events of other partitions are published"
            "Above 0: [FirstcomeBrokerAway](runbooks/FirstcomeBrokerAway.md)";
        RELAY_COMMIT_TO_ACK_SECONDS: Histogram "firstcome_relay_commit_to_ack_seconds" [] "always"
            "From the commit of an event to its acknowledgement"
            "Normally milliseconds";
        RELAY_WAKE_SECONDS: Histogram "firstcome_relay_wake_seconds" [] "always"
            "From the commit of an event to its sending, for events that came directly from the writer, including the wait for the previous batch ([0017](decisions/0017-one-batch-for-each-partition.md)) and, while its partition is busy, for more events ([0026](decisions/0026-larger-calls-under-load.md))"
            "More than 25 ms: too few cores, or more events than the producers can send";
        RELAY_PUBLISH_SECONDS: Histogram "firstcome_relay_publish_seconds" [] "always"
            "From the sending of an event to its acknowledgement, for events that came directly from the writer"
            "The brokers";
        RELAY_WAKE_HITS: Counter "firstcome_relay_wake_hits_total" [] "always"
            "Events that came directly from the writer of this process"
            "Compare it with the rate of `ok`: the difference came from polls";
        RELAY_POLLS: Counter "firstcome_relay_polls_total" [] "always"
            "Polls for events for which the relay got no hint"
            "About one per second without traffic";
        RELAY_WOKEN: Counter "firstcome_relay_woken_total" [] "always"
            "Notifications of new events from other replicas"
            "If it does not grow, notifications over Redis do not arrive, and publishing waits for polls";
        RELAY_LEASE_EPOCH_CHANGES: Counter "firstcome_relay_lease_epoch_changes_total" [] "always"
            "Buckets that this relay took over"
            "Grows when replicas start and stop; otherwise leases are lost";
        RELAY_ORDER_VIOLATIONS: Counter "firstcome_relay_order_violations_total" [] "always"
            "Events published after a later event of the same participation"
            "Must stay 0, except after a replay of dead letters: [FirstcomeOrderViolation](runbooks/FirstcomeOrderViolation.md)";
        RELAY_PURGED: Counter "firstcome_relay_purged_total" [] "always"
            "Published events that were deleted because of their age"
            "Grows when campaigns are over and `retention.published_events` has passed";
        RELAY_PURGE_LAG_SECONDS: Gauge "firstcome_relay_purge_lag_seconds" [] "always"
            "For how long the oldest deletable event is overdue for deletion"
            "[FirstcomePurgeLags](runbooks/FirstcomePurgeLags.md). One relay deletes, the others show 0: take the maximum";
        RELAY_OLDEST_SNAPSHOT_AGE_SECONDS: Gauge "firstcome_relay_oldest_snapshot_age_seconds" [] "always"
            "Age of the oldest transaction in the database; -1: unknown, or another relay shows it"
            "[FirstcomeOldSnapshot](runbooks/FirstcomeOldSnapshot.md)";
        RELAY_HISTORY_LENGTH: Gauge "firstcome_relay_history_length" [] "always"
            "Length of `InnoDB`'s history list; -1: unknown, or another relay shows it"
            "Millions: an old transaction, or a purge that is too slow";
    }
    "Consumers" {
        CONSUMER_LAG: Gauge "firstcome_consumer_lag" ["consumer", "partition"] "always"
            "Unfinished records of a partition, from the group member that has the partition"
            "Its sum by consumer: [FirstcomeConsumerLag](runbooks/FirstcomeConsumerLag.md)";
        CONSUMER_RECORDS: Counter "firstcome_consumer_records_total" ["consumer", "outcome"] "always"
            "Records read: `applied`, `late` (a later change was already applied), `duplicate`, `ignored` (nothing to grant), `poison`"
            "`poison`: [FirstcomePoison](runbooks/FirstcomePoison.md). Each is a [dead letter](consumers.md#dead-letters)";
        CONSUMER_REWARDS: Counter "firstcome_consumer_rewards_total" ["consumer", "outcome"] "always"
            "Participations whose reward was `granted` or `reversed`"
            "Its rate compared with the rate of participations";
        CONSUMER_RETRIES: Counter "firstcome_consumer_retries_total" ["consumer"] "always"
            "Failed attempts that were repeated"
            "[FirstcomeConsumerRetries](runbooks/FirstcomeConsumerRetries.md)";
        CONSUMER_BATCH_SECONDS: Histogram "firstcome_consumer_batch_seconds" ["consumer"] "always"
            "From the first attempt at a batch to its end"
            "Grows with the response time of the rewards database";
    }
    "Days, exports, tokens, log-ins, alerts" {
        AGGREGATION_RUNS: Counter "firstcome_aggregation_runs_total" ["result"] "always"
            "Ended runs of the daily aggregation: `completed`, `failed`, `abandoned`, `stopped`"
            "`failed` and `abandoned`: [FirstcomeAggregationFailed](runbooks/FirstcomeAggregationFailed.md)";
        AGGREGATION_CAMPAIGNS_FAILED: Counter "firstcome_aggregation_campaigns_failed_total" [] "always"
            "Campaigns that a run could not write"
            "As above";
        AGGREGATION_CAMPAIGNS_WRITING: Gauge "firstcome_aggregation_campaigns_writing" [] "always"
            "Campaigns that a run of this process is writing, at most `aggregation.concurrency`"
            "";
        AGGREGATION_LAST_RUN_SECONDS: Gauge "firstcome_aggregation_last_run_seconds" [] "always"
            "Duration of the last run of this process"
            "If it is near a day, raise `aggregation.parallel_max`";
        AGGREGATION_LAST_COMPLETED_TIMESTAMP_SECONDS: Gauge "firstcome_aggregation_last_completed_timestamp_seconds" [] "always"
            "End of the last completed run of this process, in seconds since 1970; 0: none since its start"
            "The maximum of all replicas: [FirstcomeAggregationOverdue](runbooks/FirstcomeAggregationOverdue.md)";
        ALERTS: Counter "firstcome_alerts_total" ["channel", "result"] "once one was sent"
            "Alerts over the channels of `[alerts]`, `webhook`, `slack` and `mail`: `sent` or `failed`"
            "`failed`: [FirstcomeAlertFails](runbooks/FirstcomeAlertFails.md)";
        EXPORT_ROWS: Counter "firstcome_export_rows_total" [] "always"
            "Participations read for CSV exports"
            "The audit log has the users who export";
        LOGINS: Counter "firstcome_logins_total" ["result"] "once somebody logged in"
            "Log-ins with a password, with `auth.mode=sessions`: `accepted`, `refused`, `code_required` and `code_refused` (the password was correct, and a one-time code was missing, wrong or used), `limited` (rejected without a check because earlier ones failed), `busy`, `failed`"
            "Many `limited`: somebody guesses passwords";
        SESSIONS_RESUMED: Counter "firstcome_sessions_resumed_total" ["result"] "once a remembered log-in was used"
            "Remembered log-ins: `accepted`, `refused`, `stolen`, `just_used`, `limited`, `busy`, `failed`"
            "Many `refused` and `limited`: somebody guesses cookies. `stolen`: a used token was sent again, and all sessions of its account were ended";
        SESSIONS_CREATED: Counter "firstcome_sessions_created_total" ["by"] "once a session began"
            "Sessions, begun with a `password` or a `remembered` log-in"
            "";
        SESSIONS_CSRF_REFUSED: Counter "firstcome_sessions_csrf_refused_total" [] "with `auth.mode=sessions`"
            "Requests with a session cookie that were rejected: without a valid CSRF token, or from another site"
            "If it grows, a page of another site sends such requests";
        TOKENS_REFUSED: Counter "firstcome_tokens_refused_total" ["reason"] "once one was rejected"
            "Tokens that were rejected: `malformed`, `type`, `algorithm`, `unknown_key`, `signature`, `issuer`, `audience`, `expired`, `not_yet_valid`, `subject`"
            "`unknown_key` after a change of keys; many `expired`: a wrong clock";
        TOKENS_KEY_FETCHES: Counter "firstcome_tokens_key_fetches_total" ["result"] "once keys were fetched again"
            "Fetches of the issuer's keys after the first: `fetched` or `failed`"
            "[FirstcomeTokenKeys](runbooks/FirstcomeTokenKeys.md)";
    }
}

/// The metrics below a heading of the documentation as a table in Markdown; none: it heads no metrics.
#[must_use]
pub fn table(heading: &str) -> Option<String> {
    let (_, metrics) = ALL.iter().find(|(group, _)| *group == heading)?;
    let head = "| name | type | labels | seen | what it is | what to look at |\n|---|---|---|---|---|---|\n";
    Some(head.to_owned() + &metrics.iter().map(Metric::row).collect::<String>())
}
