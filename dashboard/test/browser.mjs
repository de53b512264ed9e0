// A browser that keeps note of what must not happen: errors in the console, requests to anybody else.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** Where the browser is; scripts/dashboard sees to it that there is one. */
function executable() {
  if (process.env.FIRSTCOME_CHROMIUM) return process.env.FIRSTCOME_CHROMIUM;
  for (const name of NAMES) {
    try { return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim(); } catch { /* the next one */ }
  }
  throw new Error("there is no Chromium: install one, or set FIRSTCOME_CHROMIUM");
}

export const launch = () => chromium.launch({
  executablePath: executable(),
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
});

/** A tab that looks at one service. `refusals` are the answers that a test provokes on purpose. */
export class Tab {
  static async open(browser, service, { language = "en-US", dark = false, width = 1200, height = 850, token, refusals = [], zone = "Asia/Seoul", scale = 1 } = {}) {
    const context = await browser.newContext({
      viewport: { width, height }, colorScheme: dark ? "dark" : "light", locale: language, timezoneId: zone, deviceScaleFactor: scale,
    });
    const page = await context.newPage();
    const tab = new Tab();
    Object.assign(tab, { context, page, service, wrong: [], refusals });
    page.on("console", (message) => {
      if (message.type() !== "error" && message.type() !== "warning") return;
      const status = Number(/responded with a status of (\d+)/.exec(message.text())?.[1]);
      if (!tab.refusals.includes(status)) tab.wrong.push(`console: ${message.text()} ${message.location().url}`);
    });
    page.on("pageerror", (error) => tab.wrong.push(`error: ${error.stack}`));
    page.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== "data:" && protocol !== "blob:" && origin !== service.address) tab.wrong.push(`asks elsewhere: ${request.url()}`);
    });
    if (token) await page.addInitScript((given) => { if (location.protocol === "http:") sessionStorage.setItem("token", given); }, token);
    return tab;
  }

  async go(hash = "#/campaigns") {
    // To another address first: one that only differs behind the # would not be loaded anew.
    if (this.page.url().startsWith(this.service.address)) await this.page.goto("about:blank");
    await this.page.goto(`${this.service.address}/dashboard${hash}`);
    await this.page.locator("h1").first().waitFor();
  }

  /** What axe finds that is serious. It is run in a world of its own, past the page's policy. */
  async axe(what) {
    const session = await this.context.newCDPSession(this.page);
    const { frameTree } = await session.send("Page.getFrameTree");
    const { executionContextId: contextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
    await session.send("Runtime.evaluate", { contextId, expression: axe });
    const run = `axe.run(document, { resultTypes: ["violations"] }).then((found) => JSON.stringify(found.violations))`;
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { contextId, expression: run, awaitPromise: true, returnByValue: true });
    await session.detach();
    assert.equal(exceptionDetails, undefined, `axe: ${JSON.stringify(exceptionDetails)}`);
    const found = JSON.parse(result.value)
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html.slice(0, 160)} ${node.any?.[0]?.message ?? ""}`).join(" | ")}`);
    assert.deepEqual(found, [], what);
  }

  /** Nothing went wrong so far. */
  fine() { assert.deepEqual(this.wrong, []); }

  async close() {
    this.fine();
    await this.context.close();
  }
}
