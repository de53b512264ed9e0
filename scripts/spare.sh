# Spare parts: each is a separate Kafka, MySQL or Redis, for tests that stop, kill, pause or configure one without an
# effect on others. Sourced by scripts/parts, whose functions and variables it uses.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables come from scripts/parts

# The folder of a spare part has its state: its kind, whether it is native or in Docker, its port, its settings, the
# given files and words for its client, and the data of a native broker. A native MySQL or Redis can only access its
# root, and has its data and those files there; so has every native client.

spare() {
  local verb=${1:-} name=${2:-}
  [[ $name =~ ^[a-z0-9][a-z0-9-]*$ ]] || die "which spare part? a name of a-z, 0-9 and - (not '$name')"
  local folder=$spares/$name part=spare-$name what port settings
  if [[ $verb == up ]]; then
    shift 2
    spare_up "$@"
    return
  fi
  if [[ $verb == address ]]; then
    port=$(spare_port_of "$name")
    echo "127.0.0.1:$port"
    return
  fi
  if [[ ! -d $folder ]]; then
    # A second `down` has no effect.
    [[ $verb == down ]] || die "there is no spare part $name"
    return 0
  fi
  spare_recall
  case $verb in
    start | down | status) "spare_${verb}" ;;
    exec) shift 2; spare_exec "$@" ;;
    set)
      shift 2
      [[ $what == kafka ]] || die "only a broker's settings can be changed"
      settings=("$@")
      spare_resolve
      printf '%s\n' "${settings[@]}" >>"$folder/settings"
      ;;
    stop | kill)
      if [[ $kind == docker ]]; then docker "$verb" "firstcome-$part" >/dev/null; else "native_$verb" "$part"; fi
      ;;
    pause) if [[ $kind == docker ]]; then docker pause "firstcome-$part" >/dev/null; else signal "$part" STOP; fi ;;
    resume) if [[ $kind == docker ]]; then docker unpause "firstcome-$part" >/dev/null; else signal "$part" CONT; fi ;;
    *) die "a spare part does not '$verb'; see scripts/parts help" ;;
  esac
}

# Runs a program beside the part, with its standard input and output.
spare_exec() {
  local words=("${@//@port/$(spare_inner_port)}")
  if [[ $kind == docker ]]; then
    docker exec --interactive "firstcome-$part" "${words[@]}"
  else
    chroot "$root" "${words[@]}"
  fi
}

# Reads the state that `up` has written.
spare_recall() {
  read -r kind <"$folder/kind"
  read -r what <"$folder/part"
  read -r port <"$folder/port" || port=
}

# Chooses ports, writes the settings and starts it.
spare_up() {
  local owner='' files='' client=''
  what=kafka
  while true; do
    case ${1:-} in
      --while) owner=${2:?--while needs a process id} ;;
      --part) what=${2:?--part needs one} ;;
      --files) files=${2:?--files needs a folder} ;;
      --client) client=${2?--client needs words} ;;
      *) break ;;
    esac
    shift 2
  done
  if [[ $what == sentinel ]]; then
    [[ $kind == native ]] || die 'a Sentinel is native: it rewrites its file'
  else
    need_part "$what"
  fi
  if [[ $kind == native ]]; then
    need_root
    [[ -f $root/.installed && -f $jars/.installed ]] || die 'not installed yet; run scripts/parts up'
  fi
  mkdir -p "$spares" "$run" "$log"
  mkdir "$folder" 2>/dev/null || die "there is a spare part $name already"
  echo "$kind" >"$folder/kind"
  echo "$what" >"$folder/part"
  if [[ -n $owner ]]; then spare_guard "$owner"; fi
  port=$(spare_port)
  # The port is reserved before it is published, so that nobody else gets it.
  echo "$port" >"$folder/port"
  if [[ -n $files ]]; then
    cp -r "$files" "$folder/files"
    chmod -R a+rX "$folder/files"
    if [[ $kind == native ]]; then
      mkdir -p "$data/$part"
      cp -r "$folder/files" "$data/$part/"
    fi
  fi
  printf '%s\n' "${client//@files/$(spare_files client)}" >"$folder/client"
  settings=("$@")
  spare_resolve
  "spare_settings_$what" "${settings[@]}" >"$folder/settings"
  if [[ $kind == docker ]]; then "spare_docker_$what"; fi
  spare_start
  echo "127.0.0.1:$port"
}

# The path of the given files, for the part or its client.
spare_files() {
  if [[ $kind == docker ]]; then
    echo /mnt/files
  elif [[ $1 == kafka ]]; then
    echo "$folder/files"
  else
    echo "/data/$part/files"
  fi
}

# Puts folders and ports into the settings.
spare_resolve() {
  spare_neighbours
  settings=("${settings[@]//@files/$(spare_files "$what")}")
  settings=("${settings[@]//@port/$(spare_inner_port)}")
  settings=("${settings[@]//@next/$((port + 1))}")
  settings=("${settings[@]//@third/$((port + 2))}")
}

# The port that the part listens on: `@port` in its settings. The next two ports also belong to it: `@next`, `@third`.
spare_inner_port() {
  case $kind-$what in
    docker-mysql) echo 3306 ;;
    *) echo "$port" ;;
  esac
}

# Puts the ports of other spare parts into the settings: `@port:NAME` and `@next:NAME`.
spare_neighbours() {
  local nth found other
  for nth in "${!settings[@]}"; do
    while [[ ${settings[nth]} =~ @(port|next):([a-z0-9-]+) ]]; do
      found=${BASH_REMATCH[0]}
      other=$(spare_port_of "${BASH_REMATCH[2]}")
      if [[ $found == @next:* ]]; then other=$((other + 1)); fi
      settings[nth]=${settings[nth]/"$found"/$other}
    done
  done
}

# Prints the port of a spare part. A part that is being started may not have it yet.
spare_port_of() {
  local name=$1 deadline=$((SECONDS + ready_seconds_max))
  until [[ -s $spares/$name/port ]]; do
    ((SECONDS < deadline)) || die "there is no spare part $name"
    sleep 0.1
  done
  cat "$spares/$name/port"
}

# Sets `with` so that the part loads preload.so, if the given files have one. The library finds them by PRELOAD_FILES.
spare_preload() {
  local files
  with=()
  if [[ -f $folder/files/preload.so ]]; then
    files=$(spare_files "$what")
    # Kafka has no chroot: this is the copy that `exec` can change.
    if [[ $what == kafka ]]; then files=$data/$part/files; fi
    with=(env "LD_PRELOAD=$files/preload.so" "PRELOAD_FILES=$files")
  fi
}

# The files that a container can access.
spare_volumes() { if [[ -d $folder/files ]]; then echo --volume "$folder/files:/mnt/files:ro"; fi; }

# The arguments of a client of this part, besides the address.
spare_client_words() { read -r -a words <"$folder/client" || true; }

# Starts the part unless it runs, continues it if it is paused, and waits until it answers.
spare_start() {
  if [[ $kind == docker ]]; then
    docker unpause "firstcome-$part" >/dev/null 2>&1 || docker start "firstcome-$part" >/dev/null
    # shellcheck disable=SC2046 # the probe is words without spaces
    timeout "$ready_seconds_max" sh -c 'until docker exec "$@"; do sleep 1; done' sh \
      "firstcome-$part" $(spare_probe) >/dev/null 2>&1 ||
      die "$part is not ready after $ready_seconds_max s; see docker logs firstcome-$part"
    return
  fi
  lock_part "$part"
  if running "$part"; then
    signal "$part" CONT
  else
    "spare_run_$what"
  fi
  if ! (wait_ready "$part" "spare_ready_$what"); then
    # A broker of several ends if the controllers change their leader while it starts: started again, as by a supervisor.
    if [[ $what != kafka ]] || running "$part"; then exit 1; fi
    say "$part is started again"
    spare_run_kafka
    wait_ready "$part" spare_ready_kafka
  fi
  exec 9>&-
}

# Prints whether it runs, like `status` for the other parts; exit 1 if not.
spare_status() {
  local pid
  if [[ $kind == docker ]]; then
    if [[ $(docker inspect --format '{{.State.Running}}' "firstcome-$part") == true ]]; then
      printf '%-6s up    in Docker\n' "$what"
      return
    fi
  elif pid=$(pid_of "$part"); then
    printf '%-6s up    127.0.0.1:%s  pid %s\n' "$what" "$port" "$pid"
    return
  fi
  printf '%-6s down\n' "$what"
  return 1
}

# --- a broker: a server.properties ------------------------------------------------------

spare_settings_kafka() {
  if [[ $kind == docker ]]; then
    # The port is the same outside and inside, so that its address is valid for both.
    kafka_properties '' "$port" $((port + 1)) /var/lib/kafka/data
  else
    kafka_properties 127.0.0.1 "$port" $((port + 1)) "$folder/data"
  fi
  printf '%s\n' "$@"
}

# A fast start matters more than speed, because it lives for seconds. SPARE_KAFKA_OPTS sets other flags for Java.
spare_run_kafka() {
  local flags with=()
  spare_preload
  read -r -a flags <<<"${SPARE_KAFKA_OPTS:--Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}"
  run_kafka "$part" "$folder/settings" "${flags[@]}"
}

spare_ready_kafka() {
  local words=()
  # A controller that is no broker has no clients.
  if [[ $(sed -n 's/^process\.roles=//p' "$folder/settings" | tail -n 1) == controller ]]; then
    port_open $((port + 1))
    return
  fi
  spare_client_words
  timeout 3 chroot "$root" kcat -b "127.0.0.1:$port" ${words[@]+"${words[@]}"} -L -m 2
}

spare_docker_kafka() {
  # shellcheck disable=SC2046 # a volume is words without spaces
  docker run --detach --name "firstcome-$part" --publish "127.0.0.1:$port:$port" \
    --volume "$folder/settings:/mnt/shared/config/server.properties:ro" $(spare_volumes) \
    --env KAFKA_HEAP_OPTS='-Xms128m -Xmx256m' "$(spare_image)" >/dev/null
}

# --- MySQL and Redis: options, one a line -----------------------------------------------

spare_options() { if (($# > 0)); then printf -- '--%s\n' "$@"; fi; }

spare_settings_mysql() { spare_options "$@"; }

# As small as possible: it has little work. Given settings come last, so they take precedence.
spare_run_mysql() {
  local data=/data/$part options with=()
  mapfile -t options <"$folder/settings"
  mkdir -p "$root$data"
  spare_preload
  # Not in the binary log: a member of a replication group that starts again has no transactions of its own.
  { echo 'SET sql_log_bin = 0;'; cat "$checkout/scripts/mysql/init.sql"; } >"$root$data/init.sql"
  if [[ ! -d $root$data/mysql ]]; then
    chroot "$root" /usr/sbin/mysqld --no-defaults --initialize-insecure --user=root \
      --datadir="$data/mysql" --secure-file-priv=NULL --innodb-redo-log-capacity=8M \
      </dev/null >>"$log/$part.log" 2>&1 || {
      tail -n 20 "$log/$part.log" >&2
      die "mysqld --initialize failed; see $log/$part.log"
    }
  fi
  spawn "$part" chroot "$root" ${with[@]+"${with[@]}"} /usr/sbin/mysqld --no-defaults --user=root \
    --datadir="$data/mysql" --socket="$data/m.sock" --pid-file="$data/m.pid" \
    --secure-file-priv=NULL --init-file="$data/init.sql" \
    --port="$port" --bind-address=127.0.0.1 --mysqlx=OFF --skip-name-resolve \
    --innodb-buffer-pool-size=32M --innodb-redo-log-capacity=8M --performance-schema=ON \
    ${options[@]+"${options[@]}"}
}

spare_ready_mysql() {
  # shellcheck disable=SC2034 # client_mysql reads them
  local words=() limit='timeout 3' mysql_port=$port
  spare_client_words
  client_mysql ${words[@]+"${words[@]}"} -e 'SELECT 1' firstcome
}

spare_docker_mysql() {
  local options
  mapfile -t options <"$folder/settings"
  # shellcheck disable=SC2046 # a volume is words without spaces
  docker run --detach --name "firstcome-$part" --publish "127.0.0.1:$port:3306" \
    --volume "$checkout/scripts/mysql/init.sql:/docker-entrypoint-initdb.d/init.sql:ro" \
    --env MYSQL_ALLOW_EMPTY_PASSWORD=yes --env MYSQL_ROOT_HOST=% $(spare_volumes) \
    "$(spare_image)" --skip-name-resolve ${options[@]+"${options[@]}"} >/dev/null
}

# An option of Redis has two words.
spare_settings_redis() {
  local option
  for option in "$@"; do printf -- '--%s\n%s\n' "${option%%=*}" "${option#*=}"; done
}

spare_run_redis() {
  local options with=()
  mapfile -t options <"$folder/settings"
  mkdir -p "$data/$part"
  spare_preload
  spawn "$part" chroot "$root" ${with[@]+"${with[@]}"} /usr/bin/redis-server --port "$port" --bind 127.0.0.1 \
    --daemonize no --dir "/data/$part" ${options[@]+"${options[@]}"}
}

spare_ready_redis() {
  # shellcheck disable=SC2034 # client_redis reads them
  local words=() limit='timeout 3' redis_port=$port
  spare_client_words
  [[ $(client_redis ${words[@]+"${words[@]}"} ping 2>/dev/null) == PONG ]]
}

spare_docker_redis() {
  local options
  mapfile -t options <"$folder/settings"
  # In the host's network: the nodes of a cluster use the same addresses for each other as for clients.
  # shellcheck disable=SC2046 # a volume is words without spaces
  docker run --detach --name "firstcome-$part" --network host $(spare_volumes) "$(spare_image)" \
    redis-server --port "$port" --bind 127.0.0.1 ${options[@]+"${options[@]}"} >/dev/null
}

# --- Sentinel: a process of Redis with a file of its own, which it rewrites. Settings are lines of that file ---

spare_settings_sentinel() {
  local option
  for option in "$@"; do printf '%s %s\n' "${option%%=*}" "${option#*=}"; done
}

spare_run_sentinel() {
  mkdir -p "$data/$part"
  if [[ ! -f $data/$part/sentinel.conf ]]; then cp "$folder/settings" "$data/$part/sentinel.conf"; fi
  spawn "$part" chroot "$root" /usr/bin/redis-server "/data/$part/sentinel.conf" --sentinel --port "$port" \
    --bind 127.0.0.1 --daemonize no --dir "/data/$part"
}

spare_ready_sentinel() { spare_ready_redis; }

# The image that docker-compose.yml names for the part.
spare_image() {
  sed -n "/^  $what:\$/,/image:/s/^ *image: *//p" "$checkout/docker-compose.yml"
}

# The command that checks, inside a container, whether the part answers.
spare_probe() {
  local words=()
  spare_client_words
  case $what in
    kafka)
      # Its client takes a file, whereas kcat takes arguments.
      if ((${#words[@]} > 0)); then words=(--command-config /mnt/files/client.properties); fi
      echo /opt/kafka/bin/kafka-broker-api-versions.sh --bootstrap-server "127.0.0.1:$port" "${words[@]}"
      ;;
    mysql) echo mysql -h 127.0.0.1 -u root "${words[@]}" -e 'SELECT(1)' firstcome_rewards ;;
    redis) echo redis-cli -p "$port" "${words[@]}" ping ;;
  esac
}

# --- the end ----------------------------------------------------------------------------

# Removes it with its data, in any state.
spare_down() {
  local guard
  if guard=$(pid_of "$part-guard") && [[ $guard != "$$" ]]; then
    kill -- "-$guard" 2>/dev/null || true
  fi
  if [[ $kind == docker ]]; then
    docker rm --force --volumes "firstcome-$part" >/dev/null
  else
    # If it is being started, `down` waits until it is up.
    lock_part "$part"
    if running "$part"; then native_kill "$part"; fi
  fi
  # Below a checked name, so it never deletes the data of all parts.
  rm -rf "$folder" "${data:?}/$part" "$run/$part".* "$run/$part-guard".* "$log/$part".* "$log/$part-guard".*
}

spare_down_all() {
  local folder name part kind what port
  for folder in "$spares"/*/; do
    [[ -r $folder/part ]] || continue
    spare_recall
    name=$(basename "$folder")
    part=spare-$name
    spare_down
  done
}

# Removes the part when its owner has ended in any way.
spare_guard() {
  # shellcheck disable=SC2016 # the inner shell expands them
  spawn "$part-guard" bash -c 'tail --pid="$1" -f /dev/null; exec "$2" spare down "$3"' \
    guard "$1" "$checkout/scripts/parts" "$name"
}

# Prints a port that, like the next two, nobody listens on and no other spare part has; below the ports that the
# system assigns by itself.
spare_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 4000 * 3))
    if ! port_open "$port" && ! port_open $((port + 1)) && ! port_open $((port + 2)) && ! grep -qsx "$port" "$spares"/*/port; then
      echo "$port"
      return
    fi
  done
}
