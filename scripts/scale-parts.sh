# The environment of scripts/scale-run: brokers, masters, replicas, the balancer, and the processor time of each.
# Sourced by it.
# shellcheck shell=bash
# shellcheck disable=SC2034 # scripts/scale-run uses the variables, too

stem=scale-$$ # of the names of its spare parts
run=scale_$(date +%s)
topic=$run.participation.v1
port=${BENCH_PORT:-18080}
base=http://127.0.0.1:$port
binary=${BENCH_BINARY:-${CARGO_TARGET_DIR:-target}/release/firstcome}
told=$(mktemp -d)
declare -A pids=()  # of replicas and balancer, by name
declare -A loads=() # of load generators, by name
clean=no            # whether nothing need be looked at any more

say() { printf 'scale-run: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# within SECONDS CMD…: repeats the command until it succeeds; prints its last output if it never does.
within() {
  local deadline=$((SECONDS + $1)) output
  shift
  until output=$("$@" 2>&1); do
    ((SECONDS < deadline)) || { printf '%s\n' "$output"; return 1; }
    sleep 0.5
  done
}

sql() { scripts/parts cli mysql -N -B "$run" -e "$1"; }
# If an address is given several times, the last one counts.
kafka() { scripts/parts cli kafka -b "$FIRSTCOME_KAFKA_BROKERS" "$@"; }
redis() { scripts/parts cli redis -p "${masters[0]##*:}" "$@"; }

# --- starting ---------------------------------------------------------------------------

start_parts() {
  local tool missing=()
  for tool in haproxy wrk jq curl; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  if ((${#missing[@]} > 0)); then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null ||
      die "missing: ${missing[*]}"
  fi
  [[ -n ${BENCH_BINARY:-} ]] || cargo build --release --locked --quiet
  # In containers with separate networks the brokers would not find each other.
  if [[ $(scripts/parts status 2>/dev/null) == *Docker* ]]; then
    die 'this needs native parts, and those that are up are in Docker: make parts-down first'
  fi
  # Native parts stay native.
  FIRSTCOME_PARTS=native scripts/parts up >&2
  eval "$(scripts/parts env)"
  trap end EXIT
  scripts/parts cli mysql -e "CREATE DATABASE $run"
  start_redis &
  local job=$!
  start_kafka
  wait "$job" || die 'the Redis Cluster did not come up'
  mapfile -t masters <"$told/masters"
  configure
  local nth
  for nth in 1 2 3; do start_replica "$nth"; done
  for nth in 1 2 3; do
    within 60 ready_replica "$nth" || { tail -n 20 "$told/replica-$nth.log" >&2 && die "replica $nth is not ready"; }
  done
  start_balancer
}

# Three processes, each broker and controller, which know each other's addresses before the start.
start_kafka() {
  local nth voters='' jobs=() job
  for nth in 1 2 3; do voters+=",$nth@127.0.0.1:@next:$stem-kafka-$nth"; done
  for nth in 1 2 3; do
    scripts/parts spare up "$stem-kafka-$nth" --while $$ "node.id=$nth" "controller.quorum.voters=${voters#,}" \
      default.replication.factor=3 min.insync.replicas=2 offsets.topic.replication.factor=3 \
      transaction.state.log.replication.factor=3 transaction.state.log.min.isr=2 \
      share.coordinator.state.topic.replication.factor=3 share.coordinator.state.topic.min.isr=2 \
      leader.imbalance.check.interval.seconds=5 >"$told/broker-$nth" &
    jobs+=("$!")
  done
  for job in "${jobs[@]}"; do wait "$job" || die 'a broker did not come up'; done
}

start_redis() {
  local nth nodes
  for nth in 1 2 3; do
    scripts/parts spare up "$stem-redis-$nth" --while $$ --part redis cluster-enabled=yes cluster-port=@next \
      cluster-config-file=nodes.conf cluster-require-full-coverage=no cluster-node-timeout=5000 \
      appendonly=yes appendfsync=everysec auto-aof-rewrite-min-size=512mb save= maxmemory-policy=noeviction
  done >"$told/masters"
  mapfile -t nodes <"$told/masters"
  timeout 60 scripts/parts cli redis --cluster create "${nodes[@]}" --cluster-yes >"$told/cluster" 2>&1 ||
    { cat "$told/cluster" >&2 && return 1; }
  for nth in 0 1 2; do within 30 is_whole "${nodes[nth]##*:}"; done
}
is_whole() { [[ $(scripts/parts cli redis -p "$1" cluster info) == *cluster_state:ok*cluster_known_nodes:3* ]]; }

configure() {
  FIRSTCOME_REDIS_URL=$(printf ',redis://%s' "${masters[@]}")
  FIRSTCOME_REDIS_URL=${FIRSTCOME_REDIS_URL#,}
  FIRSTCOME_KAFKA_BROKERS=$(cat "$told"/broker-? | paste -sd,)
  FIRSTCOME_DATABASE_URL=${FIRSTCOME_DATABASE_URL%/*}/$run
  export FIRSTCOME_REDIS_URL FIRSTCOME_KAFKA_BROKERS FIRSTCOME_DATABASE_URL
  export FIRSTCOME_REDIS_PREFIX=$run FIRSTCOME_KAFKA_TOPIC_PREFIX=$run FIRSTCOME_KAFKA_CREATE_TOPICS=true
  export FIRSTCOME_KAFKA_PARTITIONS=12 FIRSTCOME_ADMIN_TOKEN=bench-admin-token FIRSTCOME_HTTP_TRUSTED_PROXIES=127.0.0.1/32
  # No permissions are granted here.
  unset FIRSTCOME_REWARDS_DATABASE_URL
  # A selected kind of parts does not apply to the service.
  unset FIRSTCOME_PARTS
}

start_replica() {
  FIRSTCOME_HTTP_LISTEN=127.0.0.1:$((port + 1 + $1)) "$binary" 2>>"$told/replica-$1.log" &
  pids[replica-$1]=$!
  watch replicas "$!" 0
}
ready_replica() { curl -fs "http://127.0.0.1:$((port + 1 + $1))/readyz" >/dev/null; }
# Like a supervisor: a process that ends because a part is unavailable at its start is started again.
restart_replica() {
  local deadline=$((SECONDS + 90))
  start_replica "$1"
  until ready_replica "$1"; do
    ((SECONDS < deadline)) || die "replica $1 did not come back"
    sleep 0.2
    if kill -0 "${pids[replica-$1]}" 2>/dev/null; then continue; fi
    unset "kind_of[${pids[replica-$1]}]"
    start_replica "$1"
  done
}

# As in deploy/haproxy/haproxy.cfg, round-robin; and with the figures of each replica.
start_balancer() {
  local nth
  cat >"$told/haproxy.cfg" <<END
global
    maxconn 8000
defaults
    mode http
    timeout connect 1s
    timeout client 90s
    timeout server 90s
    timeout http-request 10s
    timeout http-keep-alive 75s
    timeout check 4s
frontend api
    bind 127.0.0.1:$port
    http-request del-header X-Forwarded-For
    option forwardfor
    default_backend replicas
frontend figures
    bind 127.0.0.1:$((port + 1))
    stats enable
    stats uri /
backend replicas
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host firstcome
    http-check expect status 200
    option redispatch
    retry-on conn-failure
    default-server check inter 1s fall 2 rise 1
END
  for nth in 1 2 3; do
    echo "    server replica-$nth 127.0.0.1:$((port + 1 + nth))" >>"$told/haproxy.cfg"
  done
  haproxy -db -f "$told/haproxy.cfg" >"$told/haproxy.log" 2>&1 &
  pids[balancer]=$!
  within 10 curl -fs "$base/readyz" || { cat "$told/haproxy.log" >&2 && die 'the balancer is not up'; }
}
figures_of_balancer() { curl -fsS "http://127.0.0.1:$((port + 1))/;csv" | sed '1s/^# //'; }

# At any end. The spare parts end by themselves with this process, but a moment later.
end() {
  local nth
  kill "${pids[@]}" "${loads[@]}" 2>/dev/null || true
  wait "${pids[@]}" "${loads[@]}" 2>/dev/null || true
  for nth in 1 2 3; do
    scripts/parts spare down "$stem-kafka-$nth" || true
    scripts/parts spare down "$stem-redis-$nth" || true
  done
  if [[ $clean == yes ]]; then
    scripts/parts cli mysql -e "DROP DATABASE $run" || true
    rm -rf "$told"
  else
    say "logs are in $told, and the schema is $run"
  fi
}

# --- slots ------------------------------------------------------------------------------

# Prints for each of these campaigns the number of its master: 1 to 3.
masters_of() {
  redis cluster nodes >"$told/nodes"
  printf "CLUSTER KEYSLOT $run:{campaign:%d}:\n" "$@" | redis >"$told/slots"
  awk '
    FILENAME ~ /masters$/ { number[$1] = FNR; next }
    FILENAME ~ /nodes$/ {
      split($2, address, "@")
      for (i = 9; i <= NF; i++) {
        split($i, range, "-"); n++
        from[n] = range[1]; to[n] = range[2] == "" ? range[1] : range[2]; who[n] = number[address[1]]
      }
      next
    }
    { for (i = 1; i <= n; i++) if ($1 >= from[i] && $1 <= to[i]) print who[i] }' "$told/masters" "$told/nodes" "$told/slots"
}
master_of() { masters_of "$1"; }

# spread_over_masters HOT FIRST…: prints the number of campaigns of each master; none may have 0.
spread_over_masters() {
  local hot=$1 counts
  shift
  counts=$(masters_of "$@" | sort | uniq -c | awk '{ printf "%s%d on master %d", (NR > 1 ? ", " : ""), $1, $2 }')
  echo "$# campaigns: $counts; the hot one on master $(master_of "$hot")"
  [[ $counts == *1,*2,*3 ]] || die 'a master has no campaign: take more of them'
}

# --- processor --------------------------------------------------------------------------
# Before a process ends, `settle` must be called.

declare -A kind_of=() since=() spent=() # by process, by process, by kind
machine_then=()

ticks() {
  local line fields
  line=$(cat "/proc/$1/stat")
  read -r -a fields <<<"${line##*) }"
  echo $((fields[11] + fields[12]))
}
# watch KIND PID [TICKS]: counts from now on, or from this number of ticks.
watch() {
  kind_of[$2]=$1
  since[$2]=${3:-$(ticks "$2")}
}
settle() {
  local kind=${kind_of[$1]}
  # It may have ended by itself.
  [[ -r /proc/$1/stat ]] || { unset "kind_of[$1]" && return 0; }
  spent[$kind]=$((${spent[$kind]:-0} + $(ticks "$1") - since[$1]))
  unset "kind_of[$1]"
}
settle_all() {
  local pid kind ours=0 now
  for pid in "${!kind_of[@]}"; do settle "$pid"; done
  for kind in "${!spent[@]}"; do ours=$((ours + spent[$kind])); done
  read -r -a now < <(machine)
  spent[others]=$((now[0] - machine_then[0] - ours))
  spent[idle]=$((now[1] - machine_then[1]))
  spent[stolen]=$((now[2] - machine_then[2]))
}
# How long the machine was busy, was idle, and had no processor from its host.
machine() { awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8, $5 + $6, $9 }' /proc/stat; }

# The process of a spare part.
pid_of() { scripts/parts spare status "$stem-$1" | awk '{ print $NF }'; }

watch_all() {
  local nth
  kind_of=() spent=()
  read -r -a machine_then < <(machine)
  watch MySQL "$(scripts/parts status | awk '$1 == "mysql" { print $NF }')"
  watch balancer "${pids[balancer]}"
  for nth in 1 2 3; do
    watch replicas "${pids[replica-$nth]}"
    watch Kafka "$(pid_of "kafka-$nth")"
    watch Redis "$(pid_of "redis-$nth")"
  done
}
