// Checks that the service's data about a campaign agrees: its live status, the lists of campaigns, and its
// participations as a CSV file. It does not participate, so it can follow any load.
//
//   FIRSTCOME_ADMIN_TOKEN=… k6 run --log-format raw -e CAMPAIGN=7 k6/verify.js
//
// CAMPAIGN  id of the campaign
// WITHIN    seconds within which all events must be published, and the campaign must be at rest (60)
//
// The token needs the scope pii:read. The CSV file is read into memory: about 200 bytes for each participation. If the
// campaign changes while it is read, it is read again.
//
// Exits non-zero if a check fails.

import http from 'k6/http';
import { check } from 'k6';
import { BASE_URL, admin, asAdmin, integer, status, statusWhen, table, verdict } from './api.js';

const CAMPAIGN = integer('CAMPAIGN', 0);
const WITHIN_S = integer('WITHIN', 60);
const READS_MAX = 5;
const PAGES_MAX = 100;
const HOLDS_UNITS = ['reserved', 'confirmed'];

export const options = {
  scenarios: { verify: { executor: 'shared-iterations', vus: 1, iterations: 1, maxDuration: '15m' } },
  thresholds: { checks: ['rate==1'] },
};

export function setup() {
  if (CAMPAIGN === 0) throw new Error('CAMPAIGN must be the id of a campaign');
}

export default function verify() {
  const { seen, rows } = read();
  const one = asAdmin('GET', `/api/admin/campaigns/${CAMPAIGN}`);
  const listed = inList();
  const held = sums(rows);
  const sold = one.totalStock - held.units;
  check(seen, {
    'the status and the rows have the same number of participations': () => seen.successCount === rows.length,
    'all of them are published': () => seen.funnel.published >= rows.length,
    'the stock is what the rows leave of it': () => one.totalStock === null || seen.currentStock === sold,
    'no more units are sold than there are': () => one.totalStock === null || held.units <= one.totalStock,
    'status, campaign and list show the same stock': () =>
      listed !== undefined && [one, listed].every(({ currentStock }) => currentStock === seen.currentStock),
    'and the same total': () =>
      listed !== undefined && [one, listed].every(({ totalStock }) => totalStock === seen.totalStock),
    'every row is of this campaign': () => rows.every(({ campaignId }) => Number(campaignId) === CAMPAIGN),
    'no participation is there twice': () => held.participations === rows.length,
    'no rank is there twice': () => held.ranks === rows.length,
    'nobody holds more than the limit per user': () => held.mostOfOneUser <= one.perUserLimit,
  });
  const words = [
    ['', 'status', 'campaign', 'list', 'rows'],
    ['participations', seen.successCount, '', '', rows.length],
    ['stock left', seen.currentStock, one.currentStock, listed && listed.currentStock, one.totalStock === null ? '' : sold],
    ['units held', '', '', '', held.units],
    ['users', '', '', '', held.users],
  ];
  console.log(`\n${table(words.map((row) => row.map((cell) => (cell === undefined ? '-' : cell))))}\n`);
}

// The status and the rows of one moment: nothing changed between the two readings of the status.
function read() {
  let before = statusWhen(CAMPAIGN, WITHIN_S, ({ successCount, funnel }) => funnel.published >= successCount);
  let rows = [];
  for (let nth = 0; nth < READS_MAX; nth += 1) {
    rows = csv();
    const after = status(CAMPAIGN);
    if (after.successCount === before.successCount && after.currentStock === before.currentStock) {
      return { seen: after, rows };
    }
    before = after;
  }
  return { seen: before, rows };
}

// The campaign in the list for admins.
function inList() {
  let cursor = '';
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const { items, nextCursor } = asAdmin('GET', `/api/admin/campaigns?limit=100${cursor}`);
    const found = items.find(({ id }) => id === CAMPAIGN);
    if (found !== undefined || !nextCursor) return found;
    cursor = `&cursor=${encodeURIComponent(nextCursor)}`;
  }
  return undefined;
}

// The rows as objects. Only the field `paymentReference` may be quoted; no other field has a line break or a comma.
function csv() {
  const url = `${BASE_URL}/api/admin/campaigns/${CAMPAIGN}/participations.csv`;
  const response = http.get(url, { headers: admin, timeout: '5m', tags: { name: 'csv' } });
  if (response.status !== 200) throw new Error(`the rows were answered ${response.status}: ${response.body}`);
  const [head, ...lines] = response.body.split('\r\n');
  if (lines.pop() !== '') throw new Error('the file of rows is cut off');
  const names = head.split(',');
  return lines.map((line) => {
    const cells = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted || plain || '');
    return Object.fromEntries(names.map((name, column) => [name, cells[column]]));
  });
}

function sums(rows) {
  const holding = rows.filter(({ status: word }) => HOLDS_UNITS.includes(word));
  const unitsOf = new Map();
  let units = 0;
  let most = 0;
  for (const { userId, quantity } of holding) {
    const mine = (unitsOf.get(userId) || 0) + Number(quantity);
    unitsOf.set(userId, mine);
    units += Number(quantity);
    most = Math.max(most, mine);
  }
  return {
    units,
    mostOfOneUser: most,
    users: unitsOf.size,
    participations: new Set(rows.map(({ participationId }) => participationId)).size,
    ranks: new Set(rows.map(({ rank }) => rank)).size,
  };
}

export function handleSummary(data) {
  return { stdout: `\n  campaign ${CAMPAIGN}\n\n${verdict(data)}\n` };
}
