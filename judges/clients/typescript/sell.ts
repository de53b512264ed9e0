import createClient from "openapi-fetch";
import type { paths } from "./firstcome.js";
import { again } from "./again.js";

const baseUrl = process.env.BASE_URL ?? "http://127.0.0.1:8080";
const shop = createClient<paths>({ baseUrl, headers: { Authorization: "42" }, fetch: again });

const place = await shop.POST("/api/campaigns/{id}/participation", {
  params: { path: { id: Number(process.env.CAMPAIGN) }, header: { "Idempotency-Key": crypto.randomUUID() } },
});
if (place.error) throw new Error(`${place.error.code}: ${place.error.detail}`);
const paid = await shop.POST("/api/participations/{id}/confirm", {
  params: { path: { id: place.data.participationId } },
});
console.log(paid.data?.status ?? paid.error?.code);
