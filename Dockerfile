FROM rust:1.95-bookworm AS build
WORKDIR /firstcome
COPY . .
# What was downloaded and compiled is kept between builds, outside of the layers.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/firstcome/target \
    cargo build --release --locked \
    && cp target/release/firstcome /usr/local/bin/firstcome

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home firstcome \
    && install -d -o firstcome /var/lib/firstcome
COPY --from=build /usr/local/bin/firstcome /usr/local/bin/firstcome
USER firstcome
WORKDIR /var/lib/firstcome
EXPOSE 8080
ENTRYPOINT ["firstcome"]
