# `make` alone lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
K6_VERSION := v1.8.1

SEEDS ?= 1..21
FUZZ_SECONDS ?= 600

cargo_deny := .parts/bin/cargo-deny-$(CARGO_DENY_VERSION)
cargo_fuzz := .parts/bin/cargo-fuzz-$(CARGO_FUZZ_VERSION)
k6 := .parts/bin/k6-$(K6_VERSION)

# Built as for the tests, whose crates have more features than the service alone would ask of them: what they have built
# is not built again.
build_tests := cargo test --no-run --quiet --workspace --locked --features failpoints,kafka-tls

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start everything in one process, on embedded parts unless FIRSTCOME_… says otherwise
	cargo run --release --locked

# Incremental compilation would take as much disk again, for one build.
.PHONY: test
test: export CARGO_INCREMENTAL = 0
test: openssl ## Everything: format, lints, dependencies, all tests against the real parts
	@# What the parts and the report consist of is fetched while there is something to compile.
	{ scripts/parts install; $(MAKE) report-tools; } & installing=$$!; \
	trap 'kill $$installing 2>/dev/null || true' EXIT; \
	$(MAKE) check deny test-report; \
	wait $$installing
	@# Parts that were up before stay up; parts started here go down, whatever the tests say.
	if ! scripts/parts status >/dev/null 2>&1; then trap 'scripts/parts down' EXIT; fi; \
	scripts/parts up; \
	scripts/parts env -- cargo test --workspace --locked --features failpoints,kafka-tls; \
	$(MAKE) dashboard-test judges-quick drill report-short

# The headers of OpenSSL, which the feature kafka-tls is built with.
.PHONY: openssl
openssl:
	@pkg-config --exists openssl || { apt-get update -qq && apt-get install -qq -y libssl-dev pkg-config >/dev/null; }

.PHONY: check
check: openssl ## Format and lints, without the parts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	@# Without crash points; with TLS for Kafka, so that librdkafka is compiled once.
	cargo check --workspace --locked --features kafka-tls
	scripts/check-deploy names

.PHONY: check-deploy
check-deploy: ## Alerts with their tests, dashboards, compose file and chart; STRICT=true fails for want of a tool
	scripts/check-deploy

.PHONY: deny
deny: $(cargo_deny) ## Licences, bans and sources of the dependencies, and advisories if reachable
	scripts/deny $(cargo_deny)

.PHONY: parts-up
parts-up: ## Start MySQL, Redis and Kafka; `eval "$(scripts/parts env)"` points the service at them
	scripts/parts up

.PHONY: parts-down
parts-down: ## Stop them; their data stays
	scripts/parts down

.PHONY: structure
structure: ## Write the tables of imports in docs/architecture.md anew
	FIRSTCOME_WRITE_STRUCTURE=1 cargo test --quiet --locked --features failpoints,kafka-tls --test it \
	  architecture::the_tables_of_imports

.PHONY: openapi
openapi: ## Write openapi/openapi.json anew
	mkdir -p openapi
	cargo run --quiet --locked -- openapi >openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json

.PHONY: schema
schema: ## Write docs/schema.md anew: the entity diagram of the tables
	cargo run --quiet --locked --package migration --example schema >docs/schema.md.new
	mv docs/schema.md.new docs/schema.md

.PHONY: reference
reference: ## Write the tables of docs/configuration.md and docs/metrics.md anew
	for page in configuration metrics; do \
	  cargo run --quiet --locked -- config --tables docs/$$page.md >docs/$$page.md.new; \
	  mv docs/$$page.md.new docs/$$page.md; \
	done

.PHONY: judges
judges: ## Programs of others check what firstcome claims, and write docs/report/judges.md: NAMES="spectral clients" for some
	cargo build --locked
	judges/run $(NAMES)

.PHONY: judges-quick
judges-quick: ## Those judges that take seconds
	$(build_tests)
	judges/run --quick

.PHONY: linearizability
linearizability: OPERATIONS := 10000000
linearizability: ## Check OPERATIONS operations with Porcupine while the service is killed, and write docs/report/linearizability.md: OPERATIONS=10000000
	judges/porcupine/long $(OPERATIONS)

.PHONY: contract
contract: ## Hold the service's answers against its OpenAPI document, on embedded and on real parts
	cargo build --locked
	judges/run schemathesis

.PHONY: drill
drill: ## Restore MySQL, and replace replicas, under traffic, and judge the result; docs/operating.md
	$(build_tests)
	scripts/drill restore
	scripts/drill upgrade --short

.PHONY: drill-upgrade
drill-upgrade: ## From the last release to this build and back, under traffic; builds the old one; docs/upgrading.md
	$(build_tests)
	scripts/drill upgrade

.PHONY: dashboard
dashboard: ## Write dashboard/dist anew from dashboard/src; takes Node, and `cargo build` does not
	scripts/dashboard build

.PHONY: dashboard-test
dashboard-test: ## The dashboard: drift, types, and in a browser on the real parts; passed over without Node
	if scripts/dashboard has-node; then \
	  scripts/dashboard check; \
	  $(build_tests); \
	  if ! scripts/parts status >/dev/null 2>&1; then trap 'scripts/parts down' EXIT; fi; \
	  scripts/parts up; \
	  scripts/parts env -- scripts/dashboard test; \
	else \
	  echo 'dashboard: no Node, so the committed dashboard/dist was not looked at'; \
	fi

.PHONY: screenshots
screenshots: ## Write docs/images anew
	cargo build --locked
	if ! scripts/parts status >/dev/null 2>&1; then trap 'scripts/parts down' EXIT; fi; \
	scripts/parts up; \
	scripts/parts env -- scripts/dashboard screenshots

.PHONY: bench
bench: ## Accepted participations per second on the real parts: asynchronous against synchronous
	scripts/bench

.PHONY: bench-micro
bench-micro: ## The pieces of a participation, each on its own, without the parts; ARGUMENTS=gate for some
	cargo bench --locked --package micro -- $(ARGUMENTS)

.PHONY: bench-relay
bench-relay: ## The relay on the real parts: latency, drain, beside traffic, idle, a million pending
	scripts/bench-relay

.PHONY: bench-consumers
bench-consumers: ## The consumers on the real parts: events per second from a backlog, each and together
	scripts/bench-consumers

.PHONY: bench-orders
bench-orders: ## Paid orders on the real parts: reserved, paid for and given back per second
	scripts/bench-orders

.PHONY: bench-catalogue
bench-catalogue: ## Reads of a campaign and of its stock against the framework's plain JSON answer
	scripts/bench-catalogue

.PHONY: bench-verify
bench-verify: ## How long verify takes on a million participations, from scratch and from then on
	scripts/bench-verify

.PHONY: bench-locks
bench-locks: ## A row lock, a distributed lock and the service: accepted per second for the same units
	scripts/bench-locks

.PHONY: bench-small
bench-small: ## 1,000 units to 5,000 users on one core with the settings for 2 GiB: memory of each process
	scripts/bench-small

.PHONY: bench-stats
bench-stats: ## A day of BENCH_ROWS=5000000: raw against aggregated, and how long it takes to aggregate
	scripts/bench-stats

.PHONY: bench-overload
bench-overload: ## Twice and ten times the capacity: latency of those let in, cost of those refused
	scripts/bench-overload

.PHONY: bench-watching
bench-watching: ## What traces, metrics and fifty live views cost, in pairs of rounds
	scripts/bench-watching

.PHONY: bench-recovery
bench-recovery: ## How long Redis and the service take to be back, killed under traffic
	scripts/bench-recovery

.PHONY: scale-run
scale-run: ## Three brokers, Redis Cluster, three replicas, a balancer, without Docker: ARGUMENTS=--break
	scripts/scale-run $(ARGUMENTS)

.PHONY: compare
compare: ## The report: sync against async, partitions, statistics, stages, growth; ARGUMENTS=--quick
	scripts/compare $(ARGUMENTS)

.PHONY: limits
limits: ## The report: each stage against what the machine can do at most; ARGUMENTS=--quick
	scripts/limits $(ARGUMENTS)

.PHONY: report-tools
report-tools: ## What the report takes beside the parts, where Go is there to build it
	if command -v go >/dev/null; then nice $(MAKE) $(k6); fi

# Built as for the other tests. Their answers come late, which is no mistake.
.PHONY: report-short
report-short: ## The report in small, of what the tests are built of; passed over without Go, Java or Maven
	for tool in go java mvn; do \
	  command -v $$tool >/dev/null || { echo "report: no $$tool, so it was not tried"; exit 0; }; \
	done; \
	$(build_tests); \
	cargo build --quiet --locked --package open_load --package plain_json; \
	export BENCH_BINARY=target/debug/firstcome BENCH_OPEN_LOAD=target/debug/open_load \
	  BENCH_PLAIN_JSON=target/debug/plain_json; \
	for report in compare limits; do \
	  scripts/$$report --short --any-tree --out target/report-short; \
	done

.PHONY: test-report
test-report: ## The report's own tests: figures, order, plots and pages, without the parts
	python3 -m unittest discover --quiet --start-directory benches/report/tests --top-level-directory .

.PHONY: replicas
replicas: ## Kill, pause and stop replicas by random schedules: SEEDS=1..21
	scripts/parts up
	FIRSTCOME_TEST_SEEDS=$(SEEDS) scripts/parts env -- \
	  cargo test --locked --test it replicas_that_start_stop -- --nocapture

.PHONY: faults
faults: SEEDS := 1..201
faults: ## Break the parts by random schedules: SEEDS=1..201, or MINUTES=30 of new ones; docs/faults.md
	scripts/parts up
	FIRSTCOME_FAULTS_SEEDS=$(if $(MINUTES),,$(SEEDS)) FIRSTCOME_FAULTS_MINUTES=$(MINUTES) \
	  scripts/parts env -- \
	  cargo test --locked --features failpoints --test faults no_schedule_of_faults -- --nocapture

.PHONY: failover
failover: SEEDS := 1..25
failover: ## Fail MySQL over under traffic, with two or three servers of its own: SEEDS=1..25; docs/faults.md
	scripts/parts up
	FIRSTCOME_FAILOVER_SEEDS=$(SEEDS) scripts/parts env -- \
	  cargo test --locked --features failpoints,kafka-tls --test failover no_failover -- --nocapture

.PHONY: brokers
brokers: ## Break three Kafka brokers under traffic: SEEDS=1..21, OUTAGE=600 for longer outages, in seconds; docs/faults.md
	scripts/parts up
	FIRSTCOME_BROKERS_SEEDS=$(SEEDS) FIRSTCOME_BROKERS_OUTAGE=$(OUTAGE) scripts/parts env -- \
	  cargo test --locked --features failpoints,kafka-tls --test brokers no_fault_of_brokers -- --nocapture

.PHONY: redis-failover
redis-failover: SEEDS := 1..21
redis-failover: ## Fail Redis over under traffic: SEEDS=1..21; docs/faults.md
	scripts/parts up
	FIRSTCOME_REDIS_FAILOVER_SEEDS=$(SEEDS) scripts/parts env -- \
	  cargo test --locked --features failpoints,kafka-tls --test redis_failover no_failover_of_redis -- --nocapture

.PHONY: fuzz
fuzz: openssl ## What reads foreign bytes, guided by coverage: FUZZ_SECONDS=600 for all, TARGETS="json jwt" for some
	$(MAKE) $(cargo_fuzz) || true
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz $(cargo_fuzz)

.PHONY: k6-smoke
k6-smoke: $(k6) ## Load: a short check of a running service
	$(k6) run k6/smoke.js

.PHONY: k6-rush
k6-rush: $(k6) ## Load: everybody at once, on a running service
	$(k6) run k6/rush.js

.PHONY: k6-compare
k6-compare: $(k6) ## Load: the two ways to participate, one after the other, on a running service
	$(k6) run k6/sync-vs-async.js

.PHONY: k6-bulk
k6-bulk: $(k6) ## Load: a bulk simulation inside a running service (FIRSTCOME_TEST_ENDPOINTS=true)
	$(k6) run --log-format raw k6/bulk.js

.PHONY: k6-verify
k6-verify: $(k6) ## Load: do the stock and the rows of CAMPAIGN agree? On a running service
	$(k6) run --log-format raw k6/verify.js

WORKERS ?= 2
.PHONY: k6-workers
k6-workers: $(k6) ## Load: WORKERS k6 processes share the load on CAMPAIGN, on a running service
	export K6=$(CURDIR)/$(k6) WORKERS=$(WORKERS); pids=; failed=0; \
	for worker in $$(seq $(WORKERS)); do WORKER=$$worker k6/worker.sh & pids="$$pids $$!"; done; \
	for pid in $$pids; do wait $$pid || failed=1; done; exit $$failed

# For scripts/compare.
.PHONY: k6-path
k6-path: $(k6)
	@echo $(CURDIR)/$(k6)

.PHONY: tools
tools: $(cargo_deny) ## Install the tools that `make test` needs into .parts/bin

# Without optimization it compiles in a third of the time, and it runs for seconds.
$(cargo_deny):
	CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root .parts \
	  cargo-deny@$(CARGO_DENY_VERSION)
	mv .parts/bin/cargo-deny $@

$(cargo_fuzz):
	CARGO_PROFILE_DEV_DEBUG=false cargo install --quiet --locked --debug --root .parts \
	  cargo-fuzz@$(CARGO_FUZZ_VERSION)
	mv .parts/bin/cargo-fuzz $@

$(k6):
	GOBIN=$(CURDIR)/.parts/bin go install go.k6.io/k6@$(K6_VERSION)
	mv .parts/bin/k6 $@
