# The service in an image without a shell, as a user without rights. Debian's release is the same in both stages,
# so that what is linked at build time is there at run time.
FROM rust:1.95-bookworm AS build
WORKDIR /firstcome
COPY . .
# What was downloaded and compiled is kept between builds, outside of the layers. The base has the compiler:
# rust-toolchain.toml, which says `stable`, would have rustup download the newest one instead.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/firstcome/target \
    rm rust-toolchain.toml \
    && cargo build --release --locked --features kafka-tls \
    && cp target/release/firstcome /usr/local/bin/firstcome
# What it links to and the base does not have (it has the C library and its kin, libgcc and OpenSSL): zlib. And a
# folder for the embedded parts, which the user of the image may write to. If ldd fails, so does the build.
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN mkdir -p /root-of-image/usr/lib /root-of-image/var/lib/firstcome \
    && ldd /usr/local/bin/firstcome \
    | awk '$2 == "=>" && $1 !~ /^(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|libssl|libcrypto)\.so/ { print $3 }' \
    | xargs -r -I '{}' cp -L '{}' /root-of-image/usr/lib/

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build --chown=65532:65532 /root-of-image/var/lib/firstcome /var/lib/firstcome
COPY --from=build /root-of-image/usr/lib /usr/lib
COPY --from=build /usr/local/bin/firstcome /usr/local/bin/firstcome
USER 65532:65532
WORKDIR /var/lib/firstcome
EXPOSE 8080
# No HEALTHCHECK: it would have to be a program inside, and there is none that asks over HTTP. Ask from outside, as
# balancers and Kubernetes do: /livez whether it lives, /readyz whether it can work.
ENTRYPOINT ["/usr/local/bin/firstcome"]
