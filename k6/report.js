// One participation path under one load, for the report (`make compare`), which runs it once for each path and
// reads the summary. It checks nothing; the report checks the database.
//
// SHAPE       rush: all users at the same moment, once; crowd: VUS at a time until all have participated
// WAY         participation or participation-sync
// CAMPAIGN    id of the campaign
// USERS       users, one participation each
// VUS         concurrent requests (crowd)
// FIRST_USER  number of the first user
// SEED        seed of the waits before a rejected request is repeated
// SUMMARY     file for the summary

import exec from 'k6/execution';
import http from 'k6/http';
import { randomSeed, sleep } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { answered, codeOf, integer, participate } from './api.js';

const USERS = integer('USERS', 1000);
const VUS = integer('VUS', 100);
const FIRST_USER = integer('FIRST_USER', 1);
const SEED = integer('SEED', 1);
const CAMPAIGN = integer('CAMPAIGN', 1);
const ATTEMPTS_MAX = 60;

const accepted = new Counter('accepted');
const refused = new Counter('refused');
const busy = new Counter('busy');
const unsure = new Counter('unsure');
// The latency of the last request, and the time from the first request to the final response.
const answerMs = new Trend('answer_ms', true);
const acceptedMs = new Trend('accepted_ms', true);
const definiteMs = new Trend('definite_ms', true);
// Times in milliseconds: the duration is from the first begin to the last end.
const began = new Trend('began');
const ended = new Trend('ended');

const rush = { executor: 'per-vu-iterations', vus: USERS, iterations: 1 };
const crowd = { executor: 'shared-iterations', vus: VUS, iterations: USERS };

export const options = {
  scenarios: {
    load: { ...(__ENV.SHAPE === 'rush' ? rush : crowd), maxDuration: '5m', gracefulStop: '0s' },
  },
  summaryTrendStats: ['avg', 'min', 'med', 'p(95)', 'p(99)', 'max'],
  discardResponseBodies: false,
};

http.setResponseCallback(answered);

export default function ask() {
  const nth = exec.scenario.iterationInTest;
  randomSeed(SEED + nth);
  const first = Date.now();
  began.add(first);
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const answer = participate(CAMPAIGN, FIRST_USER + nth, { way: __ENV.WAY, timeout: '60s' });
    if (answer.status === 201 || answer.status === 409) {
      answerMs.add(answer.timings.duration);
      definiteMs.add(Date.now() - first);
      if (answer.status === 201) {
        accepted.add(1);
        acceptedMs.add(answer.timings.duration);
      } else {
        refused.add(1);
      }
      ended.add(Date.now());
      return;
    }
    if (codeOf(answer) !== 'BUSY') break;
    busy.add(1);
    // Waits for Retry-After, and up to as much again, so that rejected clients do not return together.
    sleep((Number(answer.headers['Retry-After']) || 1) * (1 + Math.random()));
  }
  ended.add(Date.now());
  unsure.add(1);
}

// The data without the settings of k6 and without groups.
export function handleSummary(data) {
  const metrics = Object.fromEntries(
    Object.entries(data.metrics).map(([name, { type, values }]) => [name, { type, values }]),
  );
  return { [__ENV.SUMMARY]: JSON.stringify({ metrics, state: data.state }) };
}
