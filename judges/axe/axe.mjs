// Holds axe-core against every view of the dashboard, in every variant. Prints what it finds; exits with 1 if that is
// anything.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { launch, Tab } from "../../dashboard/test/browser.mjs";
import { ADMIN_TOKEN, Service } from "../../dashboard/test/service.mjs";
import { adminViews, sessionAdminViews, strangerViews, userViews } from "./views.mjs";

const axe = readFileSync(createRequire(new URL("../../dashboard/package.json", import.meta.url)).resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** Rules that are switched off: none. An entry is `[rule]: { enabled: false }`, with the reason in a comment. */
const RULES = {};
const VIEW_MS_MAX = 20_000;
const SEED_MS_MAX = 30_000;

const VARIANTS = ["light", "dark"].flatMap((theme) => ["en", "ko"].flatMap((language) => ["desktop", "phone"].map((size) => ({
  name: `${theme}-${language}-${size}`,
  options: { dark: theme === "dark", language: language === "ko" ? "ko-KR" : "en-US", ...(size === "phone" ? { width: 360, height: 740 } : {}) },
}))));
/** Unless others are asked for: each theme with each language, each with each screen. */
const PAIRS = "light-en-desktop dark-ko-desktop light-ko-phone dark-en-phone";
const chosen = (process.env.AXE_VARIANTS || PAIRS).split(/\s+/);
const variants = chosen.includes("all") ? VARIANTS : VARIANTS.filter(({ name }) => chosen.includes(name));
const wanted = new RegExp(process.env.AXE_VIEWS ?? "");

async function until(what, holds) {
  const end = Date.now() + SEED_MS_MAX;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`still waiting for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What the views show. */
async function seedOf(service) {
  const seed = { user: 1 };
  seed.sold = await service.create({ name: "Sold already", description: "Something to look at.", kind: "points", totalStock: 30, reward: { points: 5 } });
  seed.priced = await service.create({ name: "For money", totalStock: 100_000, price: 900, perUserLimit: 2, maxQuantity: 2 });
  seed.bench = await service.create({ name: "For load tests", totalStock: 100_000 });
  seed.draft = await service.create({ name: "Not yet", totalStock: 5, state: "draft" });
  await service.takePart(seed.sold, [1]);
  await service.takePart(seed.sold, Array.from({ length: 39 }, (_, index) => index + 2));
  const status = async () => (await service.ask("GET", `/api/campaigns/${seed.sold}/status`)).body;
  await until("30 published participations", async () => (await status()).funnel.published === 30);
  service.giveUp(seed.sold);
  const today = new Date().toISOString().slice(0, 10);
  const { status: accepted, body } = await service.ask("POST", `/api/admin/batch/aggregate?date=${today}`);
  if (accepted >= 300) throw new Error(`the day is not aggregated: ${accepted} ${JSON.stringify(body)}`);
  return seed;
}

/** Runs axe in a world of its own, past the page's content security policy. */
async function judge(tab) {
  const session = await tab.context.newCDPSession(tab.page);
  try {
    const { frameTree } = await session.send("Page.getFrameTree");
    const { executionContextId: contextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
    await session.send("Runtime.evaluate", { contextId, expression: axe });
    const options = { resultTypes: ["violations"], runOnly: { type: "tag", values: TAGS }, rules: RULES };
    const expression = `axe.run(document, ${JSON.stringify(options)}).then(({ violations, passes, incomplete }) =>
      JSON.stringify({ violations, rules: passes.map(({ id }) => id), unsure: incomplete.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]) }))`;
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { contextId, expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`axe: ${JSON.stringify(exceptionDetails)}`);
    return JSON.parse(result.value);
  } finally {
    await session.detach();
  }
}

const told = { names: new Set(), views: 0, rules: new Set(), unsure: new Set(), found: 0, broken: 0 };

function tell(where, { violations, rules, unsure }) {
  told.views += 1;
  for (const rule of rules) told.rules.add(rule);
  for (const [rule, nodes] of unsure) {
    told.unsure.add(rule);
    for (const html of nodes.slice(0, 3)) console.log(`unsure ${where}: ${rule}: ${html.slice(0, 160)}`);
  }
  for (const { id, impact, help, nodes } of violations) {
    told.found += 1;
    console.log(`FOUND ${where}: ${id} (${impact}): ${help}`);
    for (const node of nodes.slice(0, 3)) console.log(`    ${node.html.slice(0, 200)}\n      ${node.failureSummary.replaceAll(/\s+/g, " ")}`);
  }
}

/** One tab looks at all views; each is loaded anew. */
async function look(service, views, variant, token) {
  const tab = await Tab.open(browser, service, { ...variant.options, token });
  const { page } = tab;
  page.setDefaultTimeout(VIEW_MS_MAX);
  for (const view of views.filter(({ name }) => wanted.test(name))) {
    const where = `${view.name}, ${variant.name}`;
    const come = async () => {
      tab.wrong.length = 0;
      await page.goto("about:blank");
      await page.goto(`${service.address}/dashboard${view.hash}`);
      await page.locator("main > *").first().waitFor();
      await page.waitForFunction(() => !document.querySelector("main .empty[role=status]"));
      await view.before?.(page);
    };
    try {
      // A busy service may refuse one request; what axe finds has no second chance.
      await come().catch((error) => { console.log(`again ${where}: ${error.message} ${tab.wrong.join(" ")}`); return come(); });
      told.names.add(view.name);
      tell(where, await judge(tab));
    } catch (error) {
      told.broken += 1;
      console.log(`BROKEN ${where}: ${error.message} ${tab.wrong.join(" ")}`);
    }
  }
  await tab.context.close();
}

/** What axe must find, or its silence is worth nothing: a picture without a text, and text that is hard to see. */
async function control(service) {
  const tab = await Tab.open(browser, service);
  await tab.go();
  await tab.page.evaluate(() => {
    const faint = Object.assign(document.createElement("p"), { textContent: "hardly seen" });
    faint.style.color = "#eeeeee";
    document.querySelector("main").append(document.createElement("img"), faint);
  });
  const found = (await judge(tab)).violations.map(({ id }) => id);
  await tab.context.close();
  for (const id of ["image-alt", "color-contrast"]) if (!found.includes(id)) throw new Error(`axe does not find ${id} where it is`);
}

const browser = await launch();
const services = [];
try {
  const real = await Service.start("real", { FIRSTCOME_TEST_ENDPOINTS: "true" });
  services.push(real);
  const sessions = await Service.start("embedded", { FIRSTCOME_AUTH_MODE: "sessions" });
  services.push(sessions);
  const account = { login: "ada", password: "a password of the judge" };
  const made = await sessions.ask("POST", "/api/admin/accounts", { ...account, scopes: ["stats:read"] });
  if (made.status !== 201) throw new Error(`no account: ${JSON.stringify(made.body)}`);
  const seed = await seedOf(real);
  await control(real);
  for (const variant of variants) {
    await look(real, adminViews(seed), variant, ADMIN_TOKEN);
    await look(real, strangerViews(seed), variant);
    await look(sessions, userViews(account), variant);
    await look(sessions, sessionAdminViews, variant, sessions.token);
  }
} finally {
  await browser.close();
  for (const service of services) await service.stop();
}
console.log(`axe was not sure about: ${[...told.unsure].sort().join(", ") || "nothing"}`);
if (told.broken > 0) console.log(`result: ${told.broken} looks did not come to their view`);
console.log(`result: ${told.found} violations of ${told.rules.size} rules in ${told.views} looks: ${told.names.size} views in ${variants.length} variants of theme, language and screen`);
process.exit(told.found + told.broken === 0 && told.views > 0 ? 0 : 1);
