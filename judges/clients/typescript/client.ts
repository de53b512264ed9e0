// Sells, pays and reads with the types that openapi-typescript makes, and asserts every answer.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./firstcome.js";

type Problem = components["schemas"]["Problem"];

const { BASE_URL: baseUrl = "", ADMIN_TOKEN, USER_ID } = process.env;
const user = Number(USER_ID);
const as = (authorization: string) => createClient<paths>({ baseUrl, headers: { Authorization: authorization } });
const admin = as(`Bearer ${ADMIN_TOKEN}`);
const buyer = as(String(user));

/** The data of an answer with this status. */
function good<T>(answer: { data?: T; error?: Problem; response: Response }, status: number): T {
  assert.equal(answer.response.status, status, JSON.stringify(answer.error));
  assert.ok(answer.data !== undefined);
  return answer.data;
}

/** The problem of a rejection. `C` are the codes that the document has for the operation. */
function refusal<C extends Problem>(answer: { error?: C; response: Response }, status: number): C {
  assert.equal(answer.response.status, status);
  assert.ok(answer.error, "there is no problem");
  assert.equal(answer.response.headers.get("x-request-id"), answer.error.instance);
  return answer.error;
}

async function open(price: number, totalStock: number): Promise<number> {
  const body = { name: "Typed", state: "draft", price, totalStock, maxQuantity: 1 } as const;
  const made = await admin.POST("/api/admin/campaigns", { body });
  const { id, price: known } = good(made, 201);
  assert.equal(known, price);
  assert.equal(made.response.headers.get("location"), `/api/admin/campaigns/${id}`);
  const opened = await admin.POST("/api/admin/campaigns/{id}/open", { params: { path: { id } } });
  assert.equal(good(opened, 200).state, "open");
  return id;
}

async function sell(campaign: number): Promise<void> {
  const header = { "Idempotency-Key": crypto.randomUUID() };
  const request = { params: { path: { id: campaign }, header }, body: { quantity: 1 } };
  const first = await buyer.POST("/api/campaigns/{id}/participation", request);
  const place = good(first, 201);
  assert.deepEqual([place.status, place.userId, place.amount, place.remaining], ["reserved", user, 3_000_000_000, 0]);
  assert.equal(first.response.headers.get("location"), `/api/participations/${place.participationId}`);
  const repeated = await buyer.POST("/api/campaigns/{id}/participation", request);
  assert.deepEqual(good(repeated, 201), place);
  assert.equal(repeated.response.headers.get("idempotency-replayed"), "true");

  const path = { id: place.participationId };
  const paid = good(await buyer.POST("/api/participations/{id}/confirm", { params: { path } }), 200);
  assert.equal(paid.status, "confirmed");
  const read = good(await buyer.GET("/api/participations/{id}", { params: { path } }), 200);
  assert.equal(read.paymentReference, paid.paymentReference);
  assert.ok(Math.abs(Date.parse(read.createdAt ?? "") - Date.now()) < 3_600_000);
  const own = await buyer.GET("/api/users/{userId}/participations", { params: { path: { userId: user } } });
  assert.equal(good(own, 200).items[0]?.participationId, place.participationId);
  const stock = good(await buyer.GET("/api/campaigns/{id}/stock", { params: { path: { id: campaign } } }), 200);
  assert.deepEqual([stock.currentStock, stock.soldOut], [0, true]);
}

async function reject(campaign: number): Promise<void> {
  const params = { path: { id: campaign } };
  const late = refusal(await as(String(user - 1)).POST("/api/campaigns/{id}/participation", { params }), 409);
  assert.equal(late.code, "SOLD_OUT");
  const body = { name: "Without an end", kind: "time_deal" } as const;
  const wrong = refusal(await admin.POST("/api/admin/campaigns", { body }), 422);
  assert.equal(wrong.code, "INVALID");
  assert.equal(wrong.errors?.[0]?.field, "closesAt");
}

async function order(campaigns: number[]): Promise<void> {
  const body = { userId: user, lines: campaigns.map((campaignId) => ({ campaignId })) };
  const placed = good(await buyer.POST("/api/orders", { body }), 201);
  assert.deepEqual([placed.status, placed.amount, placed.lines.length], ["reserved", 2500, 2]);
  const params = { path: { id: placed.orderId } };
  const paid = good(await buyer.POST("/api/orders/{id}/confirm", { params }), 200);
  assert.equal(paid.status, "confirmed");
  assert.ok(paid.lines.every((line) => line.participationId));
}

async function page(newest: number[]): Promise<void> {
  const seen: number[] = [];
  for (let cursor: string | null | undefined; cursor !== null && seen.length < 3; ) {
    const params = { query: { limit: 2, ...(cursor ? { cursor } : {}) } };
    const { items, nextCursor } = good(await admin.GET("/api/admin/campaigns", { params }), 200);
    seen.push(...items.map((campaign) => campaign.id));
    cursor = nextCursor;
  }
  assert.deepEqual(seen.slice(0, 3), newest);
}

const dear = await open(3_000_000_000, 1);
await sell(dear);
await reject(dear);
const lines = [await open(1000, 5), await open(1500, 5)];
await order(lines);
await page([...lines.reverse(), dear]);
