# Spare brokers: each a Kafka of its own, for whoever wants to stop, kill, pause or configure one
# without disturbing the others. Sourced by scripts/parts, whose functions and variables it uses.
# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables come from scripts/parts

# What a spare broker consists of is in its folder: the settings, whether it is native or in
# Docker, and the data of a native one.

spare() {
  local verb=${1:-} name=${2:-}
  [[ $name =~ ^[a-z0-9][a-z0-9-]*$ ]] || die "which spare broker? a name of a-z, 0-9 and - (not '$name')"
  local folder=$spares/$name part=spare-$name
  if [[ $verb == up ]]; then
    shift 2
    spare_up "$@"
    return
  fi
  if [[ ! -d $folder ]]; then
    # Down twice is down.
    [[ $verb == down ]] || die "there is no spare broker $name"
    return 0
  fi
  read -r kind <"$folder/kind"
  case $verb in
    start | down) "spare_${verb}" ;;
    stop | kill)
      if [[ $kind == docker ]]; then docker "$verb" "firstcome-$part" >/dev/null; else "native_$verb" "$part"; fi
      ;;
    pause) if [[ $kind == docker ]]; then docker pause "firstcome-$part" >/dev/null; else signal "$part" STOP; fi ;;
    resume) if [[ $kind == docker ]]; then docker unpause "firstcome-$part" >/dev/null; else signal "$part" CONT; fi ;;
    *) die "a spare broker does not '$verb'; see scripts/parts help" ;;
  esac
}

# Chooses ports, writes the settings and starts it.
spare_up() {
  local owner='' port
  if [[ ${1:-} == --while ]]; then
    owner=${2:?--while needs a process id}
    shift 2
  fi
  if [[ $kind == native ]]; then
    need_root
    [[ -f $root/.installed && -f $jars/.installed ]] || die 'not installed yet; run scripts/parts up'
  fi
  mkdir -p "$spares" "$run" "$log"
  mkdir "$folder" 2>/dev/null || die "there is a spare broker $name already"
  echo "$kind" >"$folder/kind"
  if [[ -n $owner ]]; then spare_guard "$owner"; fi
  port=$(spare_port)
  {
    if [[ $kind == docker ]]; then
      # Outside and inside it has the same port, so that its address holds for both.
      kafka_properties '' "$port" $((port + 1)) /var/lib/kafka/data
    else
      kafka_properties 127.0.0.1 "$port" $((port + 1)) "$folder/data"
    fi
    printf '%s\n' "$@"
  } >"$folder/server.properties"
  echo "$port" >"$folder/port"
  if [[ $kind == docker ]]; then
    docker run --detach --name "firstcome-$part" --publish "127.0.0.1:$port:$port" \
      --volume "$folder/server.properties:/mnt/shared/config/server.properties:ro" \
      --env KAFKA_HEAP_OPTS='-Xms128m -Xmx256m' \
      "$(sed -n 's/^ *image: *\(apache\/kafka:.*\)$/\1/p' "$checkout/docker-compose.yml")" >/dev/null
  fi
  spare_start
  echo "127.0.0.1:$port"
}

# Starts it unless it runs, wakes it if it is paused, and waits until it answers.
spare_start() {
  local port
  read -r port <"$folder/port"
  if [[ $kind == docker ]]; then
    docker unpause "firstcome-$part" >/dev/null 2>&1 || docker start "firstcome-$part" >/dev/null
    timeout "$ready_seconds_max" docker exec "firstcome-$part" sh -c \
      "until /opt/kafka/bin/kafka-broker-api-versions.sh --bootstrap-server 127.0.0.1:$port; do sleep 1; done" \
      >/dev/null 2>&1 || die "$part is not ready after $ready_seconds_max s; see docker logs firstcome-$part"
    return
  fi
  lock_part "$part"
  if running "$part"; then
    signal "$part" CONT
  else
    # Soon up rather than fast: it lives for seconds.
    run_kafka "$part" "$folder/server.properties" \
      -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
  fi
  wait_ready "$part" ready_broker "$port"
  exec 9>&-
}

# Removes it with its data, whatever state it is in.
spare_down() {
  local guard
  if guard=$(pid_of "$part-guard") && [[ $guard != "$$" ]]; then
    kill -- "-$guard" 2>/dev/null || true
  fi
  if [[ $kind == docker ]]; then
    docker rm --force --volumes "firstcome-$part" >/dev/null
  else
    # One that is being started is up before it goes down.
    lock_part "$part"
    if running "$part"; then native_kill "$part"; fi
  fi
  rm -rf "$folder" "$run/$part".* "$run/$part-guard".* "$log/$part".* "$log/$part-guard".*
}

spare_down_all() {
  local folder name part kind
  for folder in "$spares"/*/; do
    [[ -r $folder/kind ]] || continue
    read -r kind <"$folder/kind"
    name=$(basename "$folder")
    part=spare-$name
    spare_down
  done
}

# Takes the broker down when its owner has ended, however it ended.
spare_guard() {
  # shellcheck disable=SC2016 # the inner shell expands them
  spawn "$part-guard" bash -c 'tail --pid="$1" -f /dev/null; exec "$2" spare down "$3"' \
    guard "$1" "$checkout/scripts/parts" "$name"
}

# Prints a port that, like the one after it, nobody listens on and no other spare broker was given;
# below those that the system gives out by itself.
spare_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 6000 * 2))
    if ! port_open "$port" && ! port_open $((port + 1)) && ! grep -qsx "$port" "$spares"/*/port; then
      echo "$port"
      return
    fi
  done
}
