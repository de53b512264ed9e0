# Builds and runs the image without an engine, as root: buildah with chroot isolation, on bases of our own. Sourced by
# judges/image/judge. The same functions as engine.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables are shared with judges/image/judge

# shellcheck source=judges/image/bases.sh
source judges/image/bases.sh

container=
mounted=

b() { buildah --root "$JUDGE_TOOLS/storage" --runroot "$JUDGE_TOOLS/storage-run" --storage-driver "$storage_driver" "$@"; }

have_image() { [[ -n $(b images --quiet "$1" 2>/dev/null) ]]; }

# Installs buildah and debootstrap. Overlays are quick, where the kernel allows them.
prepare() {
  local missing=() tool
  [[ $(id -u) -eq 0 ]] || cannot 'there is no Docker or Podman here, and buildah with chroot isolation needs root'
  [[ $(uname -m) == x86_64 ]] || cannot 'the bases are assembled for x86-64 only'
  for tool in buildah debootstrap; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  command -v rustup >/dev/null || cannot 'there is no rustup here, whose toolchain the build base has'
  if ((${#missing[@]} > 0)); then
    command -v apt-get >/dev/null || cannot "missing: ${missing[*]}; there is no apt-get here to install it"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null ||
      cannot "apt-get could not install ${missing[*]}"
  fi
  # The folders of `RUN --mount=type=cache` are below TMPDIR, so that a second build compiles only what changed.
  export TMPDIR=$JUDGE_TOOLS/tmp${stand_in:+-stand-in}
  mkdir -p "$TMPDIR"
  storage_driver=overlay
  container=$(b from scratch 2>/dev/null) && b mount "$container" >/dev/null 2>&1 || storage_driver=vfs
  if [[ -n $container ]]; then storage_driver=overlay b rm "$container" >/dev/null 2>&1 || true; fi
  container=
  tool_version="$(buildah --version | awk '{ print "buildah " $3 }'), bases assembled from Debian's packages"
}

# What this machine's cargo needs to reach its registry.
cargo_volumes() {
  local certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} config=${CARGO_HOME:-$HOME/.cargo}/config.toml
  printf '%s\n' --volume "$(readlink -f "$certificates"):/etc/ssl/certs/ca-certificates.crt:ro"
  if [[ -f $config ]]; then printf '%s\n' --volume "$config:/usr/local/cargo/config.toml:ro"; fi
}

build_image() {
  local volumes
  assemble_bases
  mapfile -t volumes < <(cargo_volumes)
  if [[ -n $stand_in ]]; then
    # In the place of cargo: gives out the binary that is there.
    printf '#!/bin/sh\nmkdir -p target/release && cp /stand-in target/release/firstcome\n' >"$scratch/cargo"
    chmod +x "$scratch/cargo"
    volumes+=(--volume "$JUDGE_BINARY:/stand-in:ro" --volume "$scratch/cargo:/usr/local/cargo/bin/rustup:ro")
  fi
  # The format of Docker, because that of OCI has no SHELL. In a PID namespace, so that nothing goes on compiling when
  # this ends early.
  unshare --pid --fork --kill-child buildah --root "$JUDGE_TOOLS/storage" --runroot "$JUDGE_TOOLS/storage-run" --storage-driver "$storage_driver" \
    bud --format docker --isolation chroot --pull-never --layers=false "${volumes[@]}" \
    --volume "$toolchain:/usr/local/rustup/toolchains/$toolchain_name:ro" --tag "$image" "$1"
  # What an earlier build left under no name.
  b rmi --prune --force >/dev/null || true
  container=$(b from --pull-never "$image")
  mounted=$(b mount "$container")
}

# Prints the settings of the image, as JSON.
image_config() { b inspect --type image "$image" | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["Docker"]["config"]))'; }

# Prints the image's files as an archive.
image_archive() { tar -C "$mounted" -c .; }

# Waits until the program below a process has started, and prints its process id.
program_below() {
  local pid=$1 child
  for _ in $(seq 300); do
    child=$pid
    while [[ -n $child ]]; do
      pid=$child
      child=$(pgrep -o -P "$pid" || true)
    done
    if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$program_name" ]]; then echo "$pid"; return; fi
    pid=$1
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# Starts the image: as it is, or `confined`, with a read-only root and without a way to more rights.
# Sets $runner (a child of this shell) and $pid (the service).
start_image() {
  local program
  program=$(setting Entrypoint)
  program_name=${program##*/}
  if [[ $1 == confined ]]; then
    env -i "${settings[@]}" "PATH=$PATH" unshare --mount --propagation private \
      judges/image/confined "$mounted" "$(setting WorkingDir)" "$(setting User)" "$program" >"$scratch/$1.log" 2>&1 &
  else
    buildah --root "$JUDGE_TOOLS/storage" --runroot "$JUDGE_TOOLS/storage-run" --storage-driver "$storage_driver" \
      run --isolation chroot "${settings[@]/#/--env=}" "$container" -- "$program" >"$scratch/$1.log" 2>&1 &
  fi
  runner=$!
  pid=$(program_below "$runner") || { cat "$scratch/$1.log"; return 1; }
}

# Sends SIGTERM to the service, and sets $exit_code.
stop_image() {
  kill -s TERM "$pid"
  exit_code=0
  timeout 30 tail --pid="$pid" -f /dev/null || { kill -s KILL "$pid"; echo 'it did not end within 30 s'; }
  wait "$runner" || exit_code=$?
  pid='' runner=''
}

# Prints each file that the run has made or changed, except below the data folder, and except those that buildah makes.
changed_paths() {
  find "$mounted" -path "$mounted/var/lib/firstcome" -prune -o ! -type d -newercm "$scratch/before" -printf '/%P\n' |
    grep -vxE '/etc/(hosts|hostname|resolv\.conf)|/run/\.containerenv|/(proc|dev|sys)/.*' || true
}

listen=127.0.0.1:0
address_of() { sed -n 's/.*ready address=\([0-9.:]*\).*/\1/p' "$scratch/$1.log"; }

clean_up() {
  if [[ -n $pid ]]; then kill -s KILL "$pid" 2>/dev/null || true; fi
  if [[ -n $runner ]]; then
    kill "$runner" 2>/dev/null || true
    wait "$runner" 2>/dev/null || true
  fi
  if [[ -n $container ]]; then b rm "$container" >/dev/null 2>&1 || true; fi
  umount -q "$JUDGE_TOOLS/storage/overlay" || true
}
