#!/bin/sh
# Runs one of several workers of k6/workers.js: its segment of the load, by its number.
#
#   WORKER=1 WORKERS=3 CAMPAIGN=7 k6/worker.sh
#
# WORKER    number of this worker, from 1; one above WORKERS does nothing
# WORKERS   number of workers (1)
# K6        the binary (k6)
# The other variables are those of k6/workers.js.
set -eu

worker=${WORKER:?the number of this worker, from 1}
workers=${WORKERS:-1}
if [ "$worker" -gt "$workers" ]; then
  echo "worker $worker: there are $workers, so it has nothing to do"
  exit 0
fi

sequence=0
nth=1
while [ "$nth" -lt "$workers" ]; do
  sequence=$sequence,$nth/$workers
  nth=$((nth + 1))
done
sequence=$sequence,1

# 1/1 is written 1, and 0/N is written 0.
place() {
  case $1 in
    0) echo 0 ;;
    "$workers") echo 1 ;;
    *) echo "$1/$workers" ;;
  esac
}

exec "${K6:-k6}" run --quiet \
  --execution-segment "$(place $((worker - 1))):$(place "$worker")" \
  --execution-segment-sequence "$sequence" \
  "$(dirname "$0")/workers.js"
