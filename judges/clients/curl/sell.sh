#!/usr/bin/env bash
shop=${BASE_URL:-http://127.0.0.1:8080}
user='Authorization: 42'
key="Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)"
# --retry repeats after 408, 429 and 503, and waits as long as Retry-After says.
sell() { curl -sS --fail-with-body --retry 5 --retry-connrefused -X POST -H "$user" "$@"; }

sell -H "$key" -o place.json "$shop/api/campaigns/$CAMPAIGN/participation"
sell -o paid.json "$shop/api/participations/$(jq -r .participationId place.json)/confirm"
jq -r .status paid.json
