// Writes the pictures of docs/images: the service in the middle of a drop, on the real parts.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch, Tab } from "./browser.mjs";
import { ADMIN_TOKEN, Service } from "./service.mjs";

const folder = join(dirname(fileURLToPath(import.meta.url)), "../../docs/images");
/** How long a graph is watched before it is taken. */
const WATCHED_SECONDS = 25;
mkdirSync(folder, { recursive: true });

let selling = true;
const browser = await launch();
const service = await Service.start("real", { FIRSTCOME_TEST_ENDPOINTS: "true" });
await service.relay();
await service.relay();
const at = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString();
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const shot = async (name, hash, { before = async () => undefined, wait = 2, ...options } = {}) => {
  const tab = await Tab.open(browser, service, { token: ADMIN_TOKEN, width: 1180, height: 900, refusals: [404], scale: 1.5, ...options });
  await tab.go(hash);
  await before(tab.page);
  await pause(wait);
  const path = join(folder, `${name}.png`);
  await tab.page.screenshot({ path });
  await tab.close();
  // Far fewer colours than a picture may have are in it.
  try { execFileSync("pngquant", ["--force", "--skip-if-larger", "--output", path, "--quality", "70-95", "--", path]); } catch { /* larger, and as good */ }
  console.log(path);
};

try {
  await pictures();
} finally {
  selling = false;
  await browser.close();
  await service.stop();
}

async function pictures() {
  await service.create({ name: "Midnight drop", kind: "general", totalStock: 50, state: "draft" });
  await service.create({ name: "Early bird coupon", description: "5,000 off orders from 30,000.", kind: "coupon", totalStock: 2000, opensAt: at(95), closesAt: at(600), reward: { coupon: { discountAmount: 5000, minimumOrderAmount: 30000 } } });
  const points = await service.create({ name: "First thousand", description: "100 points for the first thousand.", kind: "points", totalStock: 1000, reward: { points: 100 } });
  const drop = await service.create({ name: "Spring sneakers, limited run", description: "Twenty thousand pairs, one each.", kind: "time_deal", totalStock: 20_000, closesAt: at(38), reward: { points: 200 } });

  const load = (campaignId, kind, requests, concurrency) => service.ask("POST", `/api/admin/test/load/${kind}`, { campaignId, requests, concurrency });
  await load(points, "async", 2600, 40);
  // Many who come evenly, and below a crowd that comes and goes, some of them twice.
  await load(drop, "async", 60_000, 8);

  const crowd = async () => {
    let user = 1;
    for (let second = 0; selling; second += 1) {
      const many = Math.round(30 + 16 * Math.sin(second / 5) + 6 * Math.random());
      const users = Array.from({ length: many }, () => (Math.random() < 0.18 ? Math.max(1, user - 40) : user++));
      await Promise.all([service.takePart(drop, users, 6), pause(1)]);
    }
  };
  const sold = crowd();
  await shot("dashboard-live", `#/campaigns/${drop}`, { wait: WATCHED_SECONDS, height: 1010 });
  await shot("dashboard-live-dark", `#/campaigns/${drop}`, { wait: WATCHED_SECONDS, dark: true, language: "ko-KR", height: 1010 });
  await shot("dashboard-phone", `#/campaigns/${drop}`, { wait: 20, width: 390, height: 844, scale: 2 });
  selling = false;
  await sold;

  await shot("dashboard-campaigns", "#/campaigns", { height: 560 });
  const bench = await service.create({ name: "For a load test", totalStock: 10_000 });
  const today = new Date().toISOString().slice(0, 10);
  await service.ask("POST", `/api/admin/batch/aggregate?date=${today}`);
  await shot("dashboard-statistics", "#/statistics", { wait: 4 });
  await shot("dashboard-load-test", `#/load-test?campaign=${bench}`, {
    height: 860,
    before: async (page) => {
      await page.getByLabel("Requests").fill("400");
      for (const [index, path] of ["sync", "async"].entries()) {
        await page.getByLabel("Path").selectOption(path);
        await page.getByRole("button", { name: "Start" }).click();
        await page.getByRole("region", { name: "Comparison" }).getByText("completed").nth(index).waitFor({ timeout: 120_000 });
      }
    },
  });
  await shot("dashboard-try", `#/try/${drop}`, { height: 640, before: (page) => page.getByRole("button", { name: "Participate", exact: true }).click() });
}
