# The two base images of our Dockerfile, assembled under its names, for machines that reach Debian's packages and no
# registry of images. Sourced by judges/image/buildah.sh.
#
# The build base has the packages of Docker's buildpack-deps that a build can need, and rustup with the machine's own
# toolchain, mounted. The runtime base has the packages of distroless' cc, unpacked, as distroless does it: no shell.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables are shared with judges/image/buildah.sh

build_packages=autoconf,automake,ca-certificates,curl,dpkg-dev,file,g++,gcc,git,libssl-dev,make,patch,perl,pkg-config,python3-minimal,xz-utils,zlib1g-dev
runtime_packages=(base-files ca-certificates gcc-12-base libc6 libgcc-s1 libgomp1 libssl3 libstdc++6 media-types netbase tzdata)
runtime_user=65532

# Prints the mirror that this machine's apt has for a release of Debian, if it has one.
mirror_of() { apt-get indextargets --format '$(REPO_URI)' "Codename: $1" 2>/dev/null | grep -v security | head -n 1 || true; }

# Prints the folder of an installed toolchain of this version (1.95).
find_toolchain() {
  local folder
  for folder in "$(rustup show home 2>/dev/null)"/toolchains/*; do
    if [[ $("$folder/bin/rustc" --version 2>/dev/null) == "rustc $1."* ]]; then readlink -f "$folder"; return; fi
  done
  return 1
}

# Makes an image of a folder: NAME FOLDER, then settings of `buildah config`.
commit_base() {
  local name=$1 folder=$2 container
  shift 2
  container=$(b from scratch)
  b add --quiet "$container" "$folder" /
  b config "$@" "$container"
  b commit --quiet --rm "$container" "$name"
}

assemble_build_base() {
  local name=$1 release=$2 root=$3 path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin tool mirror
  mirror=$(mirror_of "$release")
  debootstrap --variant=minbase --include="$build_packages" "$release" "$root" ${mirror:+"$mirror"} >"$JUDGE_TOOLS/debootstrap.log" 2>&1 ||
    { tail -n 5 "$JUDGE_TOOLS/debootstrap.log"; cannot "debootstrap could not install Debian $release"; }
  umount -q "$root/proc" "$root/sys" 2>/dev/null || true
  # As in the base of Docker: rustup, whose default is the version in the name of the image.
  mkdir -p "$root/usr/local/cargo/bin" "$root/usr/local/rustup/toolchains"
  cp -L "$(command -v rustup)" "$root/usr/local/cargo/bin/rustup"
  for tool in cargo rustc rustdoc; do ln -sf rustup "$root/usr/local/cargo/bin/$tool"; done
  printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n\n[overrides]\n' "$toolchain_name" \
    >"$root/usr/local/rustup/settings.toml"
  commit_base "docker.io/library/$name" "$root" --env RUSTUP_HOME=/usr/local/rustup --env CARGO_HOME=/usr/local/cargo \
    --env PATH="/usr/local/cargo/bin:$path"
}

# The packages come from the build base, so that both are of one release.
assemble_runtime_base() {
  local name=$1 from=$2 root=$3 deb
  cp -L /etc/resolv.conf "$from/etc/resolv.conf"
  mkdir -p "$from/debs" "$root"
  # `cd` inside: apt-get downloads into its working directory.
  chroot "$from" sh -c 'cd /debs && apt-get -qq -o APT::Sandbox::User=root download "$@"' sh "${runtime_packages[@]}" ||
    cannot 'apt-get could not download the packages of the runtime base'
  for deb in "$from"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
  rm -rf "$from/debs"
  mkdir -p "$root/etc/ssl/certs" "$root/home/nonroot"
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
  printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%s:%s:nonroot:/home/nonroot:/sbin/nologin\n' \
    "$runtime_user" "$runtime_user" >"$root/etc/passwd"
  printf 'root:x:0:\nstaff:x:50:\nnonroot:x:%s:\n' "$runtime_user" >"$root/etc/group"
  chown "$runtime_user:$runtime_user" "$root/home/nonroot"
  chmod 700 "$root/home/nonroot"
  commit_base "$name" "$root" --user "$runtime_user" --workingdir /home/nonroot \
    --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
}

# Assembles both, unless they are there. The names come from the Dockerfile.
assemble_bases() {
  local build runtime release made wanted roots
  build=$(sed -n 's/^FROM \(rust:[^ ]*\) AS build$/\1/p' Dockerfile)
  runtime=$(sed -n 's/^FROM \(gcr\.io\/distroless\/cc-debian[^ ]*\)$/\1/p' Dockerfile)
  [[ $build =~ ^rust:([0-9.]+)-([a-z]+)$ ]] || { echo "the build base is not a Rust on Debian: $build"; return 1; }
  rust_version=${BASH_REMATCH[1]} release=${BASH_REMATCH[2]}
  [[ $runtime == *:nonroot ]] || { echo "the runtime base is not a distroless one without root: $runtime"; return 1; }
  toolchain=$(find_toolchain "$rust_version") || cannot "this machine has no Rust $rust_version, which the Dockerfile builds with"
  toolchain_name=$("$toolchain/bin/rustc" --version --verbose | awk '/^host/ { host = $2 } /^release/ { release = $2 } END { print release "-" host }')
  wanted=$(sha256sum judges/image/bases.sh; echo "$build $runtime $toolchain_name")
  made=$JUDGE_TOOLS/bases
  if [[ $(cat "$made" 2>/dev/null) == "$wanted" ]] && have_image "$build" && have_image "$runtime"; then return; fi
  roots=$JUDGE_TOOLS/roots
  rm -rf --one-file-system "$roots"
  mkdir -p "$roots"
  assemble_build_base "$build" "$release" "$roots/build"
  assemble_runtime_base "$runtime" "$roots/build" "$roots/runtime"
  rm -rf --one-file-system "$roots"
  echo "$wanted" >"$made"
}
