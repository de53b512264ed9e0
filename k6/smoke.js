// A short check of a running service: one user after the other, with checks of every response.
//
//   FIRSTCOME_ADMIN_TOKEN=… k6 run k6/smoke.js
//
// Exits non-zero if a check fails.

import http from 'k6/http';
import { check } from 'k6';
import {
  BASE_URL,
  asAdmin,
  codeOf,
  createCampaign,
  freshUsers,
  participate,
  statusWhen,
} from './api.js';

const STOCK = 3;
const PUBLISHED_WITHIN_SECONDS = 15;

export const options = {
  vus: 1,
  iterations: 1,
  thresholds: { checks: ['rate==1'] },
};

// This script provokes rejections and errors; they are not failed requests.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 499 }));

const get = (path, authorization) =>
  http.get(`${BASE_URL}${path}`, { headers: authorization === undefined ? {} : { Authorization: `${authorization}` } });

const refusedWith = (response, status, code) => response.status === status && codeOf(response) === code;

export function setup() {
  check(get('/livez'), { 'the process responds': (answer) => answer.status === 200 });
  check(get('/readyz?verbose'), { 'its parts answer': (answer) => answer.status === 200 });
  check(http.post(`${BASE_URL}/api/admin/campaigns`, '{}', { headers: { 'Content-Type': 'application/json' } }), {
    'creating a campaign requires the token': (answer) => answer.status === 401 || answer.status === 403,
  });
  return { campaign: createCampaign(`Smoke ${new Date().toISOString()}`, STOCK), users: freshUsers() };
}

export default function smoke({ campaign, users }) {
  const id = campaign.id;
  check(campaign, {
    'a new campaign is open at once': (made) => made.state === 'open' && made.currentStock === STOCK,
  });
  check(get('/api/campaigns?limit=1'), {
    'it is the newest in the list': (answer) => answer.json('items.0.id') === id,
  });
  const first = takePart(id, users + 1);
  duplicates(id, users + 1, first);
  readBack(first, users);
  repeat(id, users + 2);
  lastUnit(id, users + 3);
  refusals(id, users + 4);
  counted(id);
  moves(id, users + 5);
}

function takePart(id, user) {
  const answer = participate(id, user);
  check(answer, {
    'a participation gets 201': () => answer.status === 201,
    'it is confirmed with rank 1, and two units remain': () =>
      answer.json('status') === 'confirmed' && answer.json('rank') === 1 && answer.json('remaining') === STOCK - 1,
    'the response has its location': () => answer.headers.Location === `/api/participations/${answer.json('participationId')}`,
  });
  return answer.json();
}

function duplicates(id, user, first) {
  for (const way of ['participation', 'participation-sync']) {
    const answer = participate(id, user, { way });
    check(answer, {
      [`a second ${way} of the same user is rejected`]: () => refusedWith(answer, 409, 'ALREADY_PARTICIPATED'),
      [`with the id of the first (${way})`]: () => answer.json('participationId') === first.participationId,
    });
  }
}

function readBack(first, users) {
  const path = `/api/participations/${first.participationId}`;
  const mine = get(path, first.userId);
  check(mine, {
    'its user can read it': () => mine.status === 200,
    'it equals the first response': () =>
      ['participationId', 'campaignId', 'userId', 'quantity', 'rank', 'status'].every(
        (field) => mine.json(field) === first[field],
      ),
  });
  check(get(path, users + 999), { 'another user cannot read it': (answer) => answer.status === 404 });
  check(get(path), { 'reading it requires authentication': (answer) => answer.status === 401 });
  check(get(`/api/users/${first.userId}/participations`, first.userId), {
    'it is in the history of its user': (answer) => answer.json('items.0.participationId') === first.participationId,
  });
}

function repeat(id, user) {
  const key = `smoke-${user}`;
  const once = participate(id, user, { key });
  const again = participate(id, user, { key });
  check(again, {
    'the same key returns the first response': () =>
      once.status === 201 && again.status === 201 && again.body === once.body,
    'with the header Idempotency-Replayed': () => again.headers['Idempotency-Replayed'] === 'true',
  });
  check(participate(id, user, { key, quantity: 2 }), {
    'the same key for another request is rejected': (answer) => refusedWith(answer, 422, 'IDEMPOTENCY_KEY_REUSED'),
  });
}

function lastUnit(id, user) {
  check(participate(id, user, { way: 'participation-sync' }), {
    'the synchronous path uses the same stock': (answer) =>
      answer.status === 201 && answer.json('remaining') === 0 && answer.json('rank') === STOCK,
  });
}

function refusals(id, user) {
  check(participate(id, user), { 'a sold-out campaign rejects': (answer) => refusedWith(answer, 409, 'SOLD_OUT') });
  check(participate(id, user, { quantity: 2 }), {
    'a quantity above the limit is rejected': (answer) => refusedWith(answer, 409, 'LIMIT_EXCEEDED'),
  });
  check(participate(id, user, { quantity: 0 }), {
    'a quantity of zero is rejected': (answer) => refusedWith(answer, 422, 'INVALID'),
  });
  check(participate(9007199254740991, user), {
    'an unknown campaign is not found': (answer) => refusedWith(answer, 404, 'NOT_FOUND'),
  });
}

function counted(id) {
  const seen = statusWhen(id, PUBLISHED_WITHIN_SECONDS, ({ funnel }) => funnel.published === STOCK);
  check(seen, {
    'the status counts committed participations': () => seen.successCount === STOCK && seen.currentStock === 0,
    'and rejections': () =>
      seen.failures.ALREADY_PARTICIPATED === 2 && seen.failures.SOLD_OUT === 1 && seen.stockUsageRate === '100.00%',
    'all events are published': () => seen.funnel.published === STOCK,
  });
}

function moves(id, user) {
  asAdmin('POST', `/api/admin/campaigns/${id}/pause`);
  check(participate(id, user), { 'a paused campaign rejects': (answer) => refusedWith(answer, 409, 'PAUSED') });
  asAdmin('POST', `/api/admin/campaigns/${id}/open`);
  const raised = asAdmin('PATCH', `/api/admin/campaigns/${id}`, { totalStock: STOCK + 1 });
  check(raised, { 'stock can be raised on a live campaign': () => raised.currentStock === 1 });
  check(participate(id, user), {
    'and sold': (answer) => answer.status === 201 && answer.json('rank') > STOCK,
  });
  asAdmin('POST', `/api/admin/campaigns/${id}/close`);
  check(participate(id, user + 1), { 'a closed campaign rejects': (answer) => refusedWith(answer, 409, 'ENDED') });
}
