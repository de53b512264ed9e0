// Load that several workers share, each a k6 process of its own, on one campaign: requests arrive at a fixed rate. Each
// worker makes its segment of the requests, and no two workers are the same user. k6/worker.sh starts one worker;
// k6/verify.js then checks the campaign.
//
//   k6 run --execution-segment 0:1/2   --execution-segment-sequence 0,1/2,1 -e CAMPAIGN=7 k6/workers.js
//   k6 run --execution-segment 1/2:1   --execution-segment-sequence 0,1/2,1 -e CAMPAIGN=7 k6/workers.js
//
// CAMPAIGN    id of the campaign, which is open
// RATE        requests per second of all workers together (1000)
// DURATION    duration of the load (10s)
// FIRST_USER  number of the first user; the same for all workers (10,000,000 times the campaign's id)
// WAY         participation or participation-sync (participation)
// VUS_MAX     maximum requests in progress of all workers together (2000)
//
// Exits non-zero if a request ends without a final response.

import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { answered, codeOf, count, figure, integer, participate, seconds, table, verdict } from './api.js';

const CAMPAIGN = integer('CAMPAIGN', 0);
const RATE = integer('RATE', 1000);
const DURATION_S = seconds('DURATION', '10s');
const FIRST_USER = integer('FIRST_USER', CAMPAIGN * 10_000_000 + 1);
const WAY = __ENV.WAY || 'participation';
const VUS_MAX = integer('VUS_MAX', 2000);
const ATTEMPTS_MAX = 15;

const accepted = new Counter('accepted');
const refused = new Counter('refused');
const busy = new Counter('busy');
const unsure = new Counter('unsure');
const answerMs = new Trend('answer_ms', true);

export const options = {
  scenarios: {
    load: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      timeUnit: '1s',
      duration: `${DURATION_S}s`,
      preAllocatedVUs: Math.min(VUS_MAX, Math.max(50, Math.ceil(RATE / 10))),
      maxVUs: VUS_MAX,
      gracefulStop: '60s',
    },
  },
  thresholds: { unsure: ['count==0'], dropped_iterations: ['count==0'] },
  summaryTrendStats: ['avg', 'min', 'med', 'p(95)', 'p(99)', 'max'],
};

http.setResponseCallback(answered);

export function setup() {
  if (CAMPAIGN === 0) throw new Error('CAMPAIGN must be the id of a campaign');
}

export default function ask() {
  // Counted over all segments, so that no other worker has this number.
  const user = FIRST_USER + exec.scenario.iterationInTest;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const answer = participate(CAMPAIGN, user, { way: WAY });
    if (answer.status === 201 || answer.status === 409) {
      answerMs.add(answer.timings.duration);
      (answer.status === 201 ? accepted : refused).add(1);
      return;
    }
    if (codeOf(answer) !== 'BUSY') break;
    busy.add(1);
    sleep((Number(answer.headers['Retry-After']) || 1) * (1 + Math.random()));
  }
  unsure.add(1);
}

export function handleSummary(data) {
  const rows = [
    ['', 'accepted', 'refused', 'busy', 'unsure', 'p50 ms', 'p95 ms', 'p99 ms'],
    [
      `worker ${__ENV.WORKER || ''}`,
      ...['accepted', 'refused', 'busy', 'unsure'].map((name) => count(data, name)),
      ...['med', 'p(95)', 'p(99)'].map((value) => figure(data, 'answer_ms', value)),
    ],
  ];
  const given = `  campaign ${CAMPAIGN}, ${RATE}/s of all workers for ${DURATION_S} s\n`;
  return { stdout: `\n${given}\n${table(rows)}\n\n${verdict(data)}\n` };
}
