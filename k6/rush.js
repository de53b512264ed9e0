// Open load: requests arrive at a fixed rate that does not depend on the responses, some of them from
// earlier users. At the end the script checks, through the API, that
//
//   accepted = min(stock, distinct users) = committed according to the service,
//   and no user has two units.
//
//   FIRSTCOME_ADMIN_TOKEN=… k6 run -e STOCK=1000 -e RATE=2000 -e DURATION=10s k6/rush.js
//
// STOCK       units of the script's own campaign (1000)
// RATE        requests per second (500)
// DURATION    duration of the load (10s)
// RAMP        duration of a rise to RATE before that (for example 5s)
// DUPLICATES  fraction of requests from earlier users (0.1)
// WAY         participation or participation-sync (participation)
// KEYS        true: each request has an Idempotency-Key and is repeated until it has a
//             final response, so that the check is exact even if parts of the service are killed
// VUS_MAX     maximum requests in progress (1000)
//
// Exits non-zero if a check fails, or if a request ends without a final response. 503 BUSY is
// final: nothing was taken, and the request is repeated after Retry-After.

import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter, Gauge, Trend } from 'k6/metrics';
import {
  answered,
  codeOf,
  count,
  createCampaign,
  figure,
  freshUsers,
  holdings,
  integer,
  participate,
  seconds,
  share,
  statusWhen,
  table,
  verdict,
} from './api.js';

const STOCK = integer('STOCK', 1000, 0);
const RATE = integer('RATE', 500);
const DURATION_S = seconds('DURATION', '10s');
const RAMP_S = seconds('RAMP', '0s');
const WAY = __ENV.WAY || 'participation';
const KEYS = __ENV.KEYS === 'true';
const VUS_MAX = integer('VUS_MAX', 1000);
// New users per thousand requests.
const FRESH_PER_MILLE = 1000 - Math.round(share('DUPLICATES', 0.1) * 1000);
// A duplicate comes from one of the last users, often while the first request is in progress.
const RECENT_USERS = 50;
const ATTEMPTS_MAX = 15;
const DRAIN_S = 60;
const PUBLISHED_WITHIN_SECONDS = integer('PUBLISHED_WITHIN', 60, 0);

const accepted = new Counter('accepted');
const refused = new Counter('refused');
const busy = new Counter('busy');
const unsure = new Counter('unsure');
// Increased by each accepted response, and decreased by the number that the service has committed.
const unaccounted = new Counter('accepted_unaccounted');
// Increased by each finished request, and decreased by the number of started ones.
const unended = new Counter('requests_unaccounted');
const committed = new Gauge('committed');
const asked = new Gauge('asked');
const distinctUsers = new Gauge('distinct_users');
const acceptedMs = new Trend('accepted_ms', true);
const refusedMs = new Trend('refused_ms', true);

const arrivals = {
  timeUnit: '1s',
  preAllocatedVUs: Math.min(VUS_MAX, Math.max(50, Math.ceil(RATE / 10))),
  maxVUs: VUS_MAX,
  gracefulStop: `${DRAIN_S}s`,
  exec: 'rush',
};

export const options = {
  scenarios: {
    rush:
      RAMP_S === 0
        ? { executor: 'constant-arrival-rate', rate: RATE, duration: `${DURATION_S}s`, ...arrivals }
        : {
            executor: 'ramping-arrival-rate',
            startRate: 1,
            stages: [
              { target: RATE, duration: `${RAMP_S}s` },
              { target: RATE, duration: `${DURATION_S}s` },
            ],
            ...arrivals,
          },
    // A scenario and not the teardown, because only a scenario knows the number of requests.
    verify: {
      executor: 'shared-iterations',
      iterations: 1,
      vus: 1,
      // A second later, because the last request may start at the end.
      startTime: `${RAMP_S + DURATION_S + 1}s`,
      maxDuration: '15m',
      exec: 'verify',
    },
  },
  thresholds: {
    checks: ['rate==1'],
    unsure: ['count==0'],
    accepted_unaccounted: ['count==0'],
    requests_unaccounted: ['count==0'],
  },
  summaryTrendStats: ['avg', 'min', 'med', 'p(95)', 'p(99)', 'max'],
  setupTimeout: '60s',
  batch: 50,
  batchPerHost: 50,
};

http.setResponseCallback(answered);

export function setup() {
  if (!['participation', 'participation-sync'].includes(WAY)) {
    throw new Error(`WAY must be participation or participation-sync, not "${WAY}"`);
  }
  const campaign = createCampaign(`Rush ${new Date().toISOString()}`, STOCK);
  return { campaign: campaign.id, users: freshUsers() };
}

// The number of distinct users among the first requests. An integer, because it is compared.
const usersAmong = (requests) => Math.floor((requests * FRESH_PER_MILLE + 999) / 1000);

export function rush({ campaign, users }) {
  const request = exec.scenario.iterationInTest;
  const known = usersAmong(request);
  const newest = usersAmong(request + 1);
  const user = newest > known ? newest : Math.max(1, known - Math.floor(Math.random() * RECENT_USERS));
  const key = KEYS ? `rush-${campaign}-${request}` : undefined;
  ask(campaign, users + user, key);
  unended.add(1);
}

function ask(campaign, user, key) {
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const answer = participate(campaign, user, { way: WAY, key });
    if (answer.status === 201) {
      accepted.add(1);
      unaccounted.add(1);
      acceptedMs.add(answer.timings.duration);
      return;
    }
    const code = codeOf(answer);
    if (answer.status === 409) {
      refused.add(1, { code });
      refusedMs.add(answer.timings.duration);
      return;
    }
    if (code === 'BUSY') {
      busy.add(1);
    } else if (!KEYS) {
      break;
    }
    // Retry-After, and up to as much again, so that rejected clients do not return together.
    sleep((Number(answer.headers['Retry-After']) || 1) * (1 + Math.random()));
  }
  unsure.add(1);
}

// Waits until every request has a response or was abandoned.
function requestsMade() {
  const deadline = Date.now() + (DRAIN_S + 10) * 1000;
  while (exec.instance.vusActive > 1 && Date.now() < deadline) sleep(0.1);
  return exec.instance.iterationsCompleted + exec.instance.iterationsInterrupted;
}

export function verify({ campaign, users }) {
  const requests = requestsMade();
  const distinct = usersAmong(requests);
  const due = Math.min(STOCK, distinct);
  const seen = statusWhen(
    campaign,
    PUBLISHED_WITHIN_SECONDS,
    ({ successCount, funnel }) => successCount === due && funnel.published === due,
  );
  const held = holdings(campaign, (user) => users + user, distinct, seen.successCount);
  unaccounted.add(-seen.successCount);
  unended.add(-requests);
  committed.add(seen.successCount);
  asked.add(requests);
  distinctUsers.add(distinct);
  check(seen, {
    'no request was cut off by the end of the run': () => exec.instance.iterationsInterrupted === 0,
    'as many were committed as there are units or users': () => seen.successCount === due,
    'no more were committed than there are units': () => seen.successCount <= STOCK,
    'the stock is what is left': () => seen.currentStock === STOCK - seen.successCount,
    'all of it was published': () => seen.funnel.published === seen.successCount,
  });
  check(held, {
    'every committed participation is in the history of its user': () => held.participations === seen.successCount,
    'nobody holds two': () => held.usersTwice === 0,
    'no place in line was given twice': () => held.ranks.size === held.participations,
  });
}

export function handleSummary(data) {
  const row = (name, metric) => [
    name,
    ...['med', 'p(95)', 'p(99)', 'max'].map((value) => figure(data, metric, value)),
  ];
  const text = [
    '',
    table([
      ['', 'requests'],
      ['asked', figure(data, 'asked', 'value', 0)],
      ['  distinct users', figure(data, 'distinct_users', 'value', 0)],
      ['accepted', count(data, 'accepted')],
      ['  committed, says the service', figure(data, 'committed', 'value', 0)],
      ['  units', STOCK],
      ['refused', count(data, 'refused')],
      ['sent away for a moment (503 BUSY)', count(data, 'busy')],
      ['no definite answer', count(data, 'unsure')],
      ['not sent: too many in progress', count(data, 'dropped_iterations')],
    ]),
    '',
    table([['answer, ms', 'p50', 'p95', 'p99', 'max'], row('accepted', 'accepted_ms'), row('refused', 'refused_ms')]),
    '',
    verdict(data),
  ];
  return { stdout: `${text.join('\n')}\n` };
}
