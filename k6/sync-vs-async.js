// Both participation paths, one after the other, with the same users and stock and a campaign each.
// Prints throughput and latency side by side, and checks that both sold exactly the stock.
//
//   FIRSTCOME_ADMIN_TOKEN=… k6 run -e USERS=2000 -e STOCK=1000 -e VUS=50 k6/sync-vs-async.js
//
// USERS   users, one request each (2000)
// STOCK   units of each campaign (1000)
// VUS     concurrent requests (50)
// PHASE   seconds for each path; the second path starts after them (30)
//
// Exits non-zero if a check fails, or if a path does not finish within its phase.

import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
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
  statusWhen,
  table,
  verdict,
} from './api.js';

const USERS = integer('USERS', 2000);
const STOCK = integer('STOCK', 1000, 0);
const VUS = integer('VUS', 50);
const PHASE = integer('PHASE', 30);
const DUE = Math.min(STOCK, USERS);
const ATTEMPTS_MAX = 15;
const PUBLISHED_WITHIN_SECONDS = 60;
const WAYS = { async: 'participation', sync: 'participation-sync' };

function perWay(make) {
  return Object.fromEntries(Object.keys(WAYS).map((way) => [way, make(way)]));
}

const accepted = perWay((way) => new Counter(`${way}_accepted`));
const refused = perWay((way) => new Counter(`${way}_refused`));
const busy = perWay((way) => new Counter(`${way}_busy`));
const answerMs = perWay((way) => new Trend(`${way}_ms`, true));
const acceptedMs = perWay((way) => new Trend(`${way}_accepted_ms`, true));
// Times in milliseconds: the duration of the path is from the first begin to the last end.
const began = perWay((way) => new Trend(`${way}_began`));
const ended = perWay((way) => new Trend(`${way}_ended`));

const scenario = (way, startTime) => ({
  executor: 'shared-iterations',
  vus: VUS,
  iterations: USERS,
  maxDuration: `${PHASE}s`,
  gracefulStop: '0s',
  startTime,
  env: { WHICH: way },
});

export const options = {
  scenarios: { async: scenario('async', '0s'), sync: scenario('sync', `${PHASE}s`) },
  thresholds: {
    checks: ['rate==1'],
    async_accepted: [`count==${DUE}`],
    sync_accepted: [`count==${DUE}`],
    async_refused: [`count==${USERS - DUE}`],
    sync_refused: [`count==${USERS - DUE}`],
  },
  summaryTrendStats: ['avg', 'min', 'med', 'p(95)', 'p(99)', 'max'],
  teardownTimeout: '10m',
  batch: 50,
  batchPerHost: 50,
};

http.setResponseCallback(answered);

export function setup() {
  const now = new Date().toISOString();
  return {
    campaigns: perWay((way) => createCampaign(`Compare ${way} ${now}`, STOCK).id),
    users: freshUsers(),
  };
}

export default function compare({ campaigns, users }) {
  const way = __ENV.WHICH;
  const user = users + exec.scenario.iterationInTest + 1;
  began[way].add(Date.now());
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const answer = participate(campaigns[way], user, { way: WAYS[way] });
    if (answer.status === 201 || answer.status === 409) {
      answerMs[way].add(answer.timings.duration);
      if (answer.status === 201) {
        accepted[way].add(1);
        acceptedMs[way].add(answer.timings.duration);
      } else {
        refused[way].add(1);
      }
      break;
    }
    if (codeOf(answer) !== 'BUSY') break;
    busy[way].add(1);
    sleep((Number(answer.headers['Retry-After']) || 1) * (1 + Math.random()));
  }
  ended[way].add(Date.now());
}

export function teardown({ campaigns, users }) {
  for (const [way, campaign] of Object.entries(campaigns)) {
    const seen = statusWhen(
      campaign,
      PUBLISHED_WITHIN_SECONDS,
      ({ successCount, funnel }) => successCount === DUE && funnel.published === DUE,
    );
    const held = holdings(campaign, (user) => users + user, USERS, seen.successCount);
    check(seen, {
      [`${way}: as many were committed as there are units or users`]: () => seen.successCount === DUE,
      [`${way}: the stock is what is left`]: () => seen.currentStock === STOCK - DUE,
      [`${way}: all of it was published`]: () => seen.funnel.published === DUE,
      [`${way}: every participation is in the history of its user`]: () => held.participations === seen.successCount,
      [`${way}: nobody holds two`]: () => held.usersTwice === 0,
    });
  }
}

export function handleSummary(data) {
  const rows = Object.keys(WAYS).map((way) => {
    const first = data.metrics[`${way}_began`];
    const last = data.metrics[`${way}_ended`];
    const seconds = first && last ? (last.values.max - first.values.min) / 1000 : 0;
    const answers = count(data, `${way}_accepted`) + count(data, `${way}_refused`);
    return [
      way,
      answers,
      seconds.toFixed(2),
      seconds > 0 ? (answers / seconds).toFixed(0) : '-',
      ...['med', 'p(95)', 'p(99)', 'max'].map((value) => figure(data, `${way}_ms`, value)),
      ...['med', 'p(99)'].map((value) => figure(data, `${way}_accepted_ms`, value)),
      count(data, `${way}_accepted`),
      count(data, `${way}_busy`),
    ];
  });
  const head = ['', 'answers', 'seconds', 'req/s', 'p50 ms', 'p95 ms', 'p99 ms', 'max ms', 'yes p50', 'yes p99', 'accepted', 'busy'];
  const given = `  ${USERS} users, ${STOCK} units, ${VUS} at a time, each way\n`;
  return { stdout: `\n${given}\n${table([head, ...rows])}\n\n${verdict(data)}\n` };
}
