// Runs Lighthouse on every page of the dashboard, as an admin: lighthouse.mjs ADDRESS TOKEN CHROMIUM. Prints the scores;
// exits with 1 if accessibility or best practices have less than 95 anywhere.
//
// LIGHTHOUSE_PAGES     some of the pages, a regular expression
// LIGHTHOUSE_FACTORS   `mobile desktop` unless given
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , address, token, chromium] = process.argv;
const require = createRequire(join(process.env.JUDGE_TOOLS, "package.json"));
const from = (name) => import(pathToFileURL(require.resolve(name)));
const { default: lighthouse, desktopConfig } = await from("lighthouse");
const { default: puppeteer } = await from("puppeteer-core");

const PAGES = ["#/campaigns", "#/campaigns/new", "#/campaigns/ID", "#/campaigns/ID/edit", "#/try/ID", "#/statistics", "#/statistics/campaign/ID",
  "#/order/ID", "#/aggregation", "#/system", "#/dead-letters", "#/load-test", "#/audit"];
const CATEGORIES = ["accessibility", "best-practices", "performance", "seo"];
/** What the judge insists on. The others depend on the machine, or are for pages that are to be found. */
const SCORE_MIN = { accessibility: 0.95, "best-practices": 0.95 };
/** The pages ask again every second, so the network is never quiet for long. */
const LOAD_MS_MAX = 15_000;
const wanted = new RegExp(process.env.LIGHTHOUSE_PAGES ?? "");
const factors = (process.env.LIGHTHOUSE_FACTORS ?? "mobile desktop").split(/\s+/);

async function ask(method, path, body) {
  const response = await fetch(`http://${address}/api${path}`, {
    method, headers: { "content-type": "application/json", authorization: `Bearer ${token}` }, ...(body ? { body: JSON.stringify(body) } : {}),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** A campaign that has something to show, and an aggregated day. */
async function seed() {
  const { id } = await ask("POST", "/admin/campaigns", { name: "Looked at", description: "Something to look at.", kind: "points", totalStock: 30, reward: { points: 5 } });
  for (let userId = 1; userId <= 30; userId += 1) await ask("POST", `/campaigns/${id}/participation`, { userId });
  await ask("POST", `/admin/batch/aggregate?date=${new Date().toISOString().slice(0, 10)}`);
  return id;
}

async function look(browser, url, factor) {
  const page = await browser.newPage();
  try {
    await page.evaluateOnNewDocument((given) => { if (location.protocol === "http:") sessionStorage.setItem("token", given); }, token);
    const flags = { onlyCategories: CATEGORIES, maxWaitForLoad: LOAD_MS_MAX, disableStorageReset: true, output: "json", logLevel: "error" };
    const { lhr } = await lighthouse(url, flags, factor === "desktop" ? desktopConfig : undefined, page);
    if (lhr.runtimeError) throw new Error(`${url}: ${lhr.runtimeError.message}`);
    return lhr;
  } finally {
    await page.close();
  }
}

/** The audits that cost points in a category. */
function costs({ categories, audits }, category) {
  return categories[category].auditRefs
    .filter(({ id, weight }) => weight > 0 && audits[id].score !== null && audits[id].score < 1)
    .map(({ id }) => {
      const { score, title, displayValue = "", details } = audits[id];
      const items = (details?.items ?? []).slice(0, 2).map((item) => JSON.stringify(item.node?.snippet ?? item.description ?? item.url ?? "").slice(0, 160));
      return `    ${category} ${id} ${score}: ${title} ${displayValue} ${items.join(" ")}`;
    });
}

/** The lowest score of each category, for each screen. */
const worst = new Map();
const profile = mkdtempSync(join(tmpdir(), "lighthouse-"));
const browser = await puppeteer.launch({
  executablePath: chromium, userDataDir: profile, headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let looks = 0;
let low = 0;
try {
  const id = await seed();
  for (const factor of factors) {
    for (const page of PAGES.filter((one) => wanted.test(one))) {
      const lhr = await look(browser, `http://${address}/dashboard${page.replace("ID", id)}`, factor);
      looks += 1;
      console.log(`${factor} ${page}: ${CATEGORIES.map((category) => `${category} ${Math.round(lhr.categories[category].score * 100)}`).join(", ")}`);
      for (const category of CATEGORIES) {
        const { score } = lhr.categories[category];
        const key = `${category} (${factor})`;
        worst.set(key, Math.min(worst.get(key) ?? 1, score));
        if (score < 1) for (const line of costs(lhr, category)) console.log(line);
        if (score < (SCORE_MIN[category] ?? 0)) low += 1;
      }
    }
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(`result: ${looks} looks, lowest scores: ${[...worst].map(([key, score]) => `${key} ${Math.round(score * 100)}`).join(", ")}`);
if (low > 0) console.log(`result: ${low} scores are below 95`);
process.exit(low === 0 && looks > 0 ? 0 : 1);
