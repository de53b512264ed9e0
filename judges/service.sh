# shellcheck shell=bash
# Starts the service for a judge. To be sourced by judges/NAME/judge, from the root of the checkout.
#
#   . judges/service.sh
#   start_service embedded                  on embedded parts; sets $service_address (host:port)
#   start_service real KEY=VALUE…           on MySQL, Redis and Kafka, which it starts if they are down; own database,
#                                           key prefix and topics ($service_run), the points consumer, simulated payment
#   stop_service                            which also happens when the shell ends
#
# KEY=VALUE are further settings of the service (FIRSTCOME_…). The administrator's token is $admin_token.

admin_token=judges-admin-token
service_pid= service_address= service_run= service_scratch= stop_parts=

stop_service() {
  if [[ -n $service_pid ]]; then kill "$service_pid" 2>/dev/null || true; wait "$service_pid" 2>/dev/null || true; fi
  service_pid=
  if [[ -n $service_run ]]; then
    scripts/parts cli mysql -e "DROP DATABASE IF EXISTS $service_run; DROP DATABASE IF EXISTS ${service_run}_rewards" || true
  fi
  service_run=
  if [[ -n $service_scratch ]]; then rm -rf "$service_scratch"; fi
  service_scratch=
}

end_service() {
  stop_service
  if [[ -n $stop_parts ]]; then scripts/parts down; fi
}
trap end_service EXIT

# Starts the real parts, unless they run; those that were started here are stopped at the end.
need_parts() {
  if ! scripts/parts status >/dev/null 2>&1; then
    stop_parts=yes
    scripts/parts up
  fi
  eval "$(scripts/parts env)"
}

start_service() {
  local parts=$1 settings=()
  shift
  service_scratch=$(mktemp -d)
  settings=(FIRSTCOME_DATA_DIR="$service_scratch/data" FIRSTCOME_HTTP_LISTEN=127.0.0.1:0
    FIRSTCOME_ADMIN_TOKEN="$admin_token" FIRSTCOME_TEST_ENDPOINTS=true)
  if [[ $parts == real ]]; then
    need_parts
    service_run=judges_$$_$RANDOM
    scripts/parts cli mysql -e "CREATE DATABASE $service_run; CREATE DATABASE ${service_run}_rewards"
    settings+=(FIRSTCOME_DATABASE_URL="${FIRSTCOME_DATABASE_URL%/*}/$service_run"
      FIRSTCOME_REWARDS_DATABASE_URL="${FIRSTCOME_DATABASE_URL%/*}/${service_run}_rewards"
      FIRSTCOME_REDIS_PREFIX="$service_run" FIRSTCOME_KAFKA_TOPIC_PREFIX="$service_run"
      FIRSTCOME_KAFKA_CREATE_TOPICS=true 'FIRSTCOME_CONSUMERS_ENABLED=points,coupons'
      FIRSTCOME_PAYMENT_ALLOW_SIMULATED=true)
  fi
  # Embedded parts also after real ones in the same shell.
  local unset=()
  if [[ $parts == embedded ]]; then
    unset=(-u FIRSTCOME_DATABASE_URL -u FIRSTCOME_REWARDS_DATABASE_URL -u FIRSTCOME_REDIS_URL -u FIRSTCOME_KAFKA_BROKERS)
  fi
  env "${unset[@]}" "${settings[@]}" "$@" "$JUDGE_BINARY" 2>"$service_scratch/log" &
  service_pid=$!
  for _ in $(seq 600); do
    service_address=$(sed -n 's/.*ready address=\([0-9.:]*\).*/\1/p' "$service_scratch/log")
    [[ -n $service_address ]] && return
    kill -0 "$service_pid" 2>/dev/null || break
    sleep 0.1
  done
  cat "$service_scratch/log" >&2
  exit 1
}
