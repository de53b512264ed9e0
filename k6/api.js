// Shared by the scripts: the address of the service, credentials, and calls.
//
// BASE_URL                address of the service (http://127.0.0.1:8080)
// FIRSTCOME_ADMIN_TOKEN   the admin token; required, because each script creates campaigns
//
// Participants are identified by `userId` in the body: the service runs with auth.mode=trusted.

import http from 'k6/http';
import { sleep } from 'k6';

export const BASE_URL = (__ENV.BASE_URL || 'http://127.0.0.1:8080').replace(/\/+$/, '');
const ADMIN_TOKEN = __ENV.FIRSTCOME_ADMIN_TOKEN || '';
const PAGE = 100;

const json = { 'Content-Type': 'application/json' };
export const admin = { Authorization: `Bearer ${ADMIN_TOKEN}` };

// A rejection is a response and not a failure.
export const answered = http.expectedStatuses({ min: 200, max: 299 }, 409);

// A whole number from the environment.
export function integer(name, fallback, least = 1) {
  const text = __ENV[name];
  if (text === undefined || text === '') return fallback;
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < least) {
    throw new Error(`${name} must be a whole number from ${least}, not "${text}"`);
  }
  return number;
}

// A fraction from the environment, at least 0 and below 1.
export function share(name, fallback) {
  const number = Number(__ENV[name] || fallback);
  if (!(number >= 0 && number < 1)) throw new Error(`${name} must be at least 0 and below 1`);
  return number;
}

// A time such as `90s` or `1m30s` from the environment, in seconds.
export function seconds(name, fallback) {
  const text = __ENV[name] || fallback;
  const [, minutes, rest] = /^(?:(\d+)m)?(?:(\d+)s)?$/.exec(text) || [];
  if (minutes === undefined && rest === undefined) throw new Error(`${name} must be a time such as 1m30s, not "${text}"`);
  return Number(minutes || 0) * 60 + Number(rest || 0);
}

// User ids that no other run has used: a microsecond each, so a run may have a million a second.
export function freshUsers() {
  return Date.now() * 1000;
}

// Calls the admin API; any result except success ends the script.
export function asAdmin(method, path, body) {
  if (ADMIN_TOKEN === '') {
    throw new Error('FIRSTCOME_ADMIN_TOKEN is not set; on embedded parts the service prints its token at start');
  }
  const payload = body === undefined ? null : JSON.stringify(body);
  const response = http.request(method, `${BASE_URL}${path}`, payload, { headers: { ...json, ...admin } });
  if (response.status < 200 || response.status > 299) {
    throw new Error(`${method} ${path} was answered ${response.status}: ${response.body || response.error}`);
  }
  return response.json();
}

export function createCampaign(name, totalStock, more = {}) {
  return asAdmin('POST', '/api/admin/campaigns', { name, totalStock, ...more });
}

export function participate(campaign, userId, { way = 'participation', key, quantity, timeout = '30s' } = {}) {
  const headers = key === undefined ? json : { ...json, 'Idempotency-Key': key };
  const body = quantity === undefined ? { userId } : { userId, quantity };
  return http.post(`${BASE_URL}/api/campaigns/${campaign}/${way}`, JSON.stringify(body), {
    headers,
    timeout,
    // One name for all campaigns, so that the summary has one row.
    tags: { name: way },
    responseCallback: answered,
  });
}

// The code of a problem document, or '' without one. Not parsed as JSON: a rush has
// many rejections, and parsing takes CPU from the service.
export function codeOf(response) {
  const found = /"code":"([A-Z_]+)"/.exec(response.body || '');
  return found === null ? '' : found[1];
}

export function status(campaign) {
  const response = http.get(`${BASE_URL}/api/campaigns/${campaign}/status`, { tags: { name: 'status' } });
  if (response.status !== 200) throw new Error(`the status was answered ${response.status}: ${response.body}`);
  return response.json();
}

// The status once `holds` does, or the last one seen when it does not within `seconds`. A status may
// be a quarter of a second old.
export function statusWhen(campaign, seconds, holds) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const seen = status(campaign);
    if (holds(seen) || Date.now() > deadline) return seen;
    sleep(0.3);
  }
}

// The participations of a campaign, read user by user until `expected` ones are found, which are all.
// Users who requested first are read first.
export function holdings(campaign, userOf, users, expected) {
  const held = { participations: 0, usersTwice: 0, ranks: new Set(), usersRead: 0 };
  for (let first = 1; first <= users && held.participations < expected; first += PAGE) {
    const last = Math.min(first + PAGE - 1, users);
    const requests = [];
    for (let user = first; user <= last; user += 1) {
      const url = `${BASE_URL}/api/users/${userOf(user)}/participations?limit=100`;
      requests.push(['GET', url, null, { headers: admin, tags: { name: 'history' } }]);
    }
    for (const response of http.batch(requests)) {
      if (response.status !== 200) throw new Error(`a history was answered ${response.status}: ${response.body}`);
      const mine = response.json('items').filter((item) => item.campaignId === campaign);
      held.participations += mine.length;
      held.usersTwice += mine.length > 1 ? 1 : 0;
      mine.forEach((item) => held.ranks.add(item.rank));
      held.usersRead += 1;
    }
  }
  return held;
}

// A table as text: the first row is the head, the first column has words, the others have numbers.
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  const line = (row) =>
    row
      .map((cell, column) =>
        column === 0 ? String(cell).padEnd(widths[column]) : String(cell).padStart(widths[column]),
      )
      .join('  ');
  return rows.map((row) => `  ${line(row)}`).join('\n');
}

// Violated thresholds and checks, as text.
export function breaches(data) {
  const broken = [];
  for (const [name, metric] of Object.entries(data.metrics)) {
    for (const [rule, { ok }] of Object.entries(metric.thresholds || {})) {
      if (!ok && name !== 'checks') broken.push(`${name}: ${rule} (is ${JSON.stringify(metric.values)})`);
    }
  }
  const walk = (group) => {
    group.checks.filter(({ fails }) => fails > 0).forEach(({ name }) => broken.push(name));
    group.groups.forEach(walk);
  };
  walk(data.root_group);
  return broken;
}

export function verdict(data) {
  const broken = breaches(data);
  return broken.length === 0 ? '  exact\n' : `  NOT AS IT MUST BE:\n    ${broken.join('\n    ')}\n`;
}

// A figure of a metric, or a dash without measurements.
export function figure(data, metric, value, digits = 1) {
  const found = data.metrics[metric];
  return found === undefined || found.values[value] === undefined ? '-' : found.values[value].toFixed(digits);
}

export function count(data, metric) {
  const found = data.metrics[metric];
  return found === undefined ? 0 : found.values.count;
}
