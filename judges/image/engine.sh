# Builds and runs the image with a Docker engine or Podman. Sourced by judges/image/judge. The same functions as
# buildah.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables are shared with judges/image/judge

container=
volume=

prepare() {
  [[ -z $stand_in ]] || cannot 'JUDGE_STAND_IN is for buildah only'
  tool_version="$engine $("$engine" version --format '{{ .Server.Version }}' 2>/dev/null || "$engine" --version)"
}

build_image() {
  # Podman's own format has no SHELL.
  local format=()
  if [[ $engine == podman ]]; then format=(--format docker); fi
  DOCKER_BUILDKIT=1 "$engine" build "${format[@]}" --tag "$image" "$1"
}

image_config() { "$engine" image inspect --format '{{ json .Config }}' "$image"; }

image_archive() {
  local created
  created=$("$engine" create "$image")
  "$engine" export "$created"
  "$engine" rm "$created" >/dev/null
}

start_image() {
  local flags=()
  if [[ -z $volume ]]; then volume=$("$engine" volume create); fi
  if [[ $1 == confined ]]; then flags=(--read-only --cap-drop ALL --security-opt no-new-privileges); fi
  if [[ -n $container ]]; then "$engine" rm "$container" >/dev/null; fi
  container=$("$engine" run --detach --publish 127.0.0.1::8080 --volume "$volume:$(setting WorkingDir)" "${flags[@]}" \
    "${settings[@]/#/--env=}" "$image")
  pid=$("$engine" inspect --format '{{ .State.Pid }}' "$container")
}

stop_image() {
  "$engine" stop --time 30 "$container" >/dev/null
  exit_code=$("$engine" inspect --format '{{ .State.ExitCode }}' "$container")
}

changed_paths() { "$engine" diff "$container" | cut -d ' ' -f 2 | grep -vxE '/(run|var|var/lib|etc)(/\.containerenv)?' || true; }

# Another machine could reach this address inside the container; from outside only this one can.
listen=0.0.0.0:8080
address_of() {
  "$engine" logs "$container" >"$scratch/$1.log" 2>&1
  if grep -q 'ready address=' "$scratch/$1.log"; then "$engine" port "$container" 8080/tcp | head -n 1; fi
}

clean_up() {
  if [[ -n $container ]]; then "$engine" rm --force "$container" >/dev/null 2>&1 || true; fi
  if [[ -n $volume ]]; then "$engine" volume rm "$volume" >/dev/null 2>&1 || true; fi
}
