// A bulk simulation inside the service: users participate, each as soon as there is capacity. The service runs with
// FIRSTCOME_TEST_ENDPOINTS=true. Prints the job's result, and checks it against the campaign.
//
//   FIRSTCOME_ADMIN_TOKEN=… k6 run --log-format raw -e COUNT=10000 -e STOCK=1000 k6/bulk.js
//
// COUNT   users, 1 to 100000, one participation each (2000)
// STOCK   units of the script's own campaign (1000)
// WITHIN  seconds within which the job must be done (120)
//
// Exits non-zero if a check fails.

import http from 'k6/http';
import { check, sleep } from 'k6';
import { BASE_URL, admin, asAdmin, createCampaign, integer, statusWhen, table, verdict } from './api.js';

const COUNT = integer('COUNT', 2000);
const STOCK = integer('STOCK', 1000, 0);
const WITHIN_S = integer('WITHIN', 120);
const DUE = Math.min(STOCK, COUNT);
const PUBLISHED_WITHIN_SECONDS = 60;

export const options = {
  scenarios: {
    bulk: { executor: 'shared-iterations', vus: 1, iterations: 1, maxDuration: `${WITHIN_S + PUBLISHED_WITHIN_SECONDS}s` },
  },
  thresholds: { checks: ['rate==1'] },
};

export function setup() {
  return { campaign: createCampaign(`Bulk ${new Date().toISOString()}`, STOCK).id };
}

export default function bulk({ campaign }) {
  const job = ended(asAdmin('POST', '/api/admin/test/participate-bulk', { count: COUNT, campaignId: campaign }).jobId);
  const outcomes = job.result.outcomes;
  const rejected = Object.entries(outcomes).filter(([code]) => code !== 'ACCEPTED');
  check(job, {
    'the job is completed': () => job.status === 'COMPLETED',
    'every user has a response': () => job.done === COUNT,
    'as many were accepted as there are units or users': () => (outcomes.ACCEPTED || 0) === DUE,
    'all others were told that it is sold out': () =>
      rejected.every(([code, count]) => code === 'SOLD_OUT' && count === COUNT - DUE),
  });
  const seen = statusWhen(
    campaign,
    PUBLISHED_WITHIN_SECONDS,
    ({ successCount, funnel }) => successCount === DUE && funnel.published === DUE,
  );
  check(seen, {
    'as many were committed': () => seen.successCount === DUE,
    'the stock is what is left': () => seen.currentStock === STOCK - DUE,
    'all of it was published': () => seen.funnel.published === DUE,
  });
  print(campaign, job);
}

// The job once it has ended, or as it is after WITHIN seconds.
function ended(id) {
  const deadline = Date.now() + WITHIN_S * 1000;
  for (;;) {
    const response = http.get(`${BASE_URL}/api/admin/test/load/${id}`, { headers: admin, tags: { name: 'job' } });
    if (response.status !== 200) throw new Error(`the job was answered ${response.status}: ${response.body}`);
    const job = response.json();
    if (job.status !== 'STARTED' || Date.now() > deadline) return job;
    sleep(0.3);
  }
}

function print(campaign, { result }) {
  const latency = ['p50', 'p95', 'p99', 'avg', 'min', 'max'].map((name) => [`${name} ms`, result.latencyMs[name].toFixed(1)]);
  const rows = [
    ['', 'bulk'],
    ['campaign', campaign],
    ['requests/s', result.requestsPerSecond.toFixed(0)],
    ...latency,
    ['failure rate', result.failureRate.toFixed(4)],
    ...Object.entries(result.outcomes),
  ];
  console.log(`\n${table(rows)}\n`);
}

export function handleSummary(data) {
  return { stdout: `\n  ${COUNT} users, ${STOCK} units\n\n${verdict(data)}\n` };
}
