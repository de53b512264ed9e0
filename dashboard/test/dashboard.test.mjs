// The dashboard in a browser, on a running service with the real parts.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, Tab } from "./browser.mjs";
import { ADMIN_TOKEN, Service } from "./service.mjs";

const PAGES = ["#/campaigns", "#/campaigns/new", "#/campaigns/ID", "#/campaigns/ID/edit", "#/try/ID", "#/statistics", "#/statistics/campaign/ID",
  "#/order/ID", "#/aggregation", "#/system", "#/dead-letters", "#/load-test", "#/audit"];
/** The day has not been aggregated, and that is an answer. */
const NOT_AGGREGATED = 404;

let browser, service, sold;

/** A tab of an admin, for one test. */
async function within(options, work) {
  const tab = await Tab.open(browser, service, { token: ADMIN_TOKEN, ...options });
  try { await work(tab, tab.page); } finally { await tab.close(); }
}

const users = (from, count) => Array.from({ length: count }, (_, index) => from + index);
const number = async (locator) => Number((await locator.first().textContent()).replaceAll(/\D/g, ""));
/** Waits until it holds; the time-out of the test is the bound. */
async function until(what, holds) {
  for (;;) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

before(async () => {
  browser = await launch();
  service = await Service.start("real", { FIRSTCOME_TEST_ENDPOINTS: "true" });
  sold = await service.create({ name: "Sold already", description: "Something to look at.", kind: "points", totalStock: 30, reward: { points: 5 } });
  await service.takePart(sold, users(1, 40));
});
after(async () => {
  await browser?.close();
  await service?.stop();
});

describe("a drop", { timeout: 120_000 }, () => {
  test("is made in the form and watched while it sells out", () => within({}, async (tab, page) => {
    await tab.go("#/campaigns/new");
    await page.getByLabel("Name").fill("Made in a browser");
    await page.getByLabel("Stock", { exact: true }).fill("300");
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByRole("heading", { name: /Made in a browser/ }).waitFor();
    const id = Number(/campaigns\/(\d+)/.exec(page.url())[1]);
    const left = page.getByTestId("left");
    await left.filter({ hasText: "300" }).waitFor();
    await page.getByText("live", { exact: true }).waitFor();

    // Shown as it goes, without being asked.
    for (const [first, count, after] of [[1_000, 60, 240], [1_100, 60, 180], [1_200, 80, 100]]) {
      await service.takePart(id, users(first, count));
      await left.filter({ hasText: String(after) }).waitFor();
    }

    await service.takePart(id, users(2_000, 120));
    await page.getByText("Sold out").first().waitFor();
    for (const stage of ["admitted", "committed", "published", "rewarded"]) {
      await page.getByTestId(stage).filter({ hasText: /^300$/ }).waitFor();
    }
    const refused = page.getByRole("row", { name: /sold out/ });
    await refused.filter({ hasText: "20" }).waitFor();
    const drawn = await page.locator("canvas").first().evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value) => value > 0);
    });
    assert.ok(drawn, "the graph is drawn");
  }));

  test("is paused, opened, rebuilt, closed and archived", () => within({}, async (tab, page) => {
    const id = await service.create({ name: "Moved about", totalStock: 10 });
    await tab.go(`#/campaigns/${id}`);
    const state = page.locator("h1 .pill");
    const click = (name) => page.getByRole("main").getByRole("button", { name, exact: true }).click();
    const sure = async (name) => { await click(name); await page.getByRole("dialog").getByRole("button", { name, exact: true }).click(); };
    await click("Pause");
    await state.filter({ hasText: "paused" }).waitFor();
    await click("Open");
    await state.filter({ hasText: "open" }).waitFor();
    await sure("Rebuild gate");
    await page.getByText(/The gate was rebuilt/).waitFor();
    await sure("Close");
    await state.filter({ hasText: "closed" }).waitFor();
    await sure("Archive");
    await state.filter({ hasText: "archived" }).waitFor();
    assert.equal((await service.ask("GET", `/api/admin/campaigns/${id}`)).body.state, "archived");
  }));

  test("is saved as a file", () => within({}, async (tab, page) => {
    await tab.go(`#/campaigns/${sold}`);
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()]);
    const text = await (await file.createReadStream()).toArray();
    assert.equal(Buffer.concat(text).toString().trim().split("\n").length, 31);
  }));

  test("shows the replicas and what each publishes", () => within({}, async (tab, page) => {
    await service.relay();
    await tab.go("#/system");
    await page.getByText("2 publishing").waitFor();
    const rows = page.getByRole("region", { name: "Leases" }).getByRole("row");
    await until("they share", async () => {
      const shares = await rows.locator("td:nth-child(2)").allTextContents();
      return shares.length === 2 && shares.every((share) => share === "32");
    });
  }));
});

describe("the form", { timeout: 60_000 }, () => {
  test("shows what is wrong at the field that it is about", () => within({ refusals: [422] }, async (tab, page) => {
    await tab.go("#/campaigns/new");
    await page.getByLabel("Name").fill("Wrong in many ways");
    await page.getByLabel("Stock", { exact: true }).fill("-1");
    await page.getByLabel("Opens").fill("2031-01-02T10:00:00");
    await page.getByLabel("Closes").fill("2031-01-01T10:00:00");
    await page.getByLabel("Reward of a participation").selectOption("coupon");
    await page.getByLabel("Discount").fill("zero");
    await page.getByRole("button", { name: "Create" }).click();
    const wrong = async (label, said) => {
      const field = page.getByLabel(label, { exact: true });
      await page.locator(`[id="${await field.getAttribute("id")}-error"]`).filter({ hasText: said }).waitFor();
      assert.equal(await field.getAttribute("aria-invalid"), "true", label);
      assert.match(await field.getAttribute("aria-describedby"), /-error/, label);
    };
    await wrong("Stock", "must be between 0");
    await wrong("Closes", "must be after opensAt");
    await wrong("Discount", "must be an integer");
    assert.equal(await page.getByLabel("Name").getAttribute("aria-invalid"), "false");
    await page.getByRole("alert").getByRole("link", { name: "Stock" }).click();
    assert.equal(await page.evaluate(() => document.activeElement.id), "field-totalStock");
    await tab.axe("a form with mistakes");
  }));

  test("changes what was changed and nothing else", () => within({ refusals: [422] }, async (tab, page) => {
    const id = await service.create({ name: "Before", kind: "coupon", totalStock: 10, price: 700, closesAt: "2035-05-05T05:05:05Z", reward: { coupon: { discountAmount: 5 } } });
    await service.takePart(id, [1, 2, 3]);
    await tab.go(`#/campaigns/${id}/edit`);
    await page.getByLabel("Name").fill("After");
    await page.getByLabel("Stock", { exact: true }).fill("2");
    const [refused] = await Promise.all([page.waitForResponse((answer) => answer.request().method() === "PATCH"), page.getByRole("button", { name: "Save" }).click()]);
    assert.deepEqual(refused.request().postDataJSON(), { name: "After", totalStock: 2 });
    await page.locator("#field-totalStock-error").waitFor();
    await page.getByLabel("Stock", { exact: true }).fill("20");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: /After/ }).waitFor();
    const { body } = await service.ask("GET", `/api/admin/campaigns/${id}`);
    assert.deepEqual([body.name, body.totalStock, body.price, body.closesAt, body.reward.coupon.discountAmount], ["After", 20, 700, "2035-05-05T05:05:05Z", 5]);
  }));
});

describe("statistics and aggregation", { timeout: 120_000 }, () => {
  test("a day is aggregated by hand, and both ways to read it agree", () => within({ refusals: [NOT_AGGREGATED] }, async (tab, page) => {
    const today = new Date().toISOString().slice(0, 10);
    await tab.go("#/statistics");
    await page.getByText("This day is not aggregated.").waitFor();
    await page.getByRole("link", { name: "Aggregate it" }).click();
    assert.equal(await page.getByLabel("Day").inputValue(), today);
    await page.getByRole("button", { name: "Aggregate" }).click();
    await page.getByRole("heading", { name: /Run 1/ }).waitFor();
    await page.locator("section", { hasText: "Run 1" }).locator(".pill", { hasText: "completed" }).waitFor();
    await page.getByRole("row", { name: new RegExp(today) }).getByText("admin", { exact: true }).waitFor();
    await page.getByRole("link", { name: "Show statistics" }).click();
    await page.getByTestId("factor").waitFor();
    await page.getByText("RAW_QUERY").waitFor();
    await page.getByText("BATCH_AGGREGATED").waitFor();
    const row = page.getByRole("row", { name: /Sold already/ });
    await row.getByText("equal").waitFor();
    assert.match(await row.textContent(), /30.*10.*75\.00%/);
    await row.getByRole("link").click();
    await page.getByRole("row", { name: new RegExp(today) }).waitFor();
  }));

  test("a day that is refused is refused at its field", () => within({ refusals: [400] }, async (tab, page) => {
    await tab.go("#/aggregation");
    const day = page.getByLabel("Day");
    await day.fill("2099-01-01");
    await page.getByRole("button", { name: "Aggregate" }).click();
    await page.getByText("DATE_IN_FUTURE").waitFor();
    assert.equal(await day.getAttribute("aria-invalid"), "true");
    await day.fill("2001-01-01");
    await page.getByRole("button", { name: "Aggregate" }).click();
    await page.getByText("DATE_TOO_OLD").waitFor();
  }));

  test("a time zone that nobody knows is refused at its field", () => within({ refusals: [422, NOT_AGGREGATED] }, async (tab, page) => {
    let answer;
    const answered = new Promise((resolve) => { answer = resolve; });
    await page.route("**/stats/raw*", async (route) => { await answered; await route.continue(); }, { times: 1 });
    await tab.go("#/statistics");
    const zone = page.getByLabel("Time zone");
    await zone.fill("Mars/Olympus");
    // The page is drawn anew while somebody types.
    answer();
    await page.locator(".took").first().waitFor();
    assert.equal(await zone.inputValue(), "Mars/Olympus");
    await zone.press("Tab");
    await page.locator("input[aria-invalid=true]").waitFor();
    assert.equal(await page.locator("input[aria-invalid=true]").inputValue(), "Mars/Olympus");
  }));

  test("while one runs, another is pointed to it, and can watch it", () => within({ refusals: [409] }, async (tab, page) => {
    const today = new Date().toISOString().slice(0, 10);
    const letGo = await service.holdBack(today, sold);
    const { body: running } = await service.ask("POST", `/api/admin/batch/aggregate?date=${today}&force=true`);
    await tab.go(`#/aggregation?date=${today}`);
    await page.getByLabel("Repeat if already completed").check();
    await page.getByRole("button", { name: "Aggregate" }).click();
    await page.getByText(`Run ${running.jobExecutionId} is in progress`).waitFor();
    await page.getByRole("button", { name: "Show progress" }).click();
    const run = page.getByRole("region", { name: new RegExp(`Run ${running.jobExecutionId}`) });
    await run.getByText("running", { exact: true }).waitFor();
    await letGo();
    await run.getByText("completed", { exact: true }).waitFor();
  }));

  test("the order of arrival is held against the order of processing", () => within({}, async (tab, page) => {
    await tab.go(`#/order/${sold}`);
    await page.getByText("Changes out of order").waitFor();
    const figure = page.locator(".figure", { hasText: "In order of arrival" });
    assert.match(await figure.textContent(), /\/ 30$/);
    await page.getByRole("img", { name: /Order of processing by order of arrival/ }).waitFor();
  }));
});

describe("dead letters", { timeout: 60_000 }, () => {
  test("are found, looked into, tried dry, replayed and discarded", () => within({}, async (tab, page) => {
    const id = await service.create({ name: "Letters", totalStock: 10 });
    await service.takePart(id, [1, 2, 3]);
    await until("all are published", async () => (await service.ask("GET", `/api/campaigns/${id}/status`)).body.funnel.published === 3);
    service.giveUp(id);
    await tab.go("#/dead-letters");
    await page.getByLabel("Campaign").fill("987654");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("No matching dead letters.").waitFor();
    await page.getByLabel("Campaign").fill(String(id));
    await page.getByRole("button", { name: "Search" }).click();
    const letters = page.getByRole("button", { name: /Show dead letter/ });
    await until("three are found", async () => (await letters.count()) === 3);
    await letters.first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/"participationId"/).waitFor();
    await dialog.getByText("Broker: Message size too large").waitFor();
    await tab.axe("a dead letter");
    await dialog.getByRole("button", { name: "Replay or discard" }).click();
    await dialog.getByRole("button", { name: "Dry run" }).click();
    await dialog.getByText(/Dry run: 1 selected/).waitFor();
    assert.equal((await service.ask("GET", `/api/admin/dead-letters?campaignId=${id}`)).body.items.length, 3);
    await dialog.getByRole("button", { name: "Replay", exact: true }).click();
    await dialog.getByText("1 will be replayed.").waitFor();
    await dialog.getByRole("button", { name: "Close", exact: true }).click();
    await until("two are left", async () => (await letters.count()) === 2);

    await page.getByRole("button", { name: "Replay or discard these…" }).click();
    await dialog.getByRole("button", { name: "Dry run" }).click();
    await dialog.getByText(/Dry run: 2 selected/).waitFor();
    await dialog.getByRole("button", { name: "Discard", exact: true }).click();
    await dialog.getByText("2 were discarded.").waitFor();
    await dialog.getByRole("button", { name: "Close", exact: true }).click();
    await page.getByText("No matching dead letters.").waitFor();
  }));
});

describe("load tests", { timeout: 120_000 }, () => {
  test("run with progress and percentiles, and are compared", () => within({}, async (tab, page) => {
    const id = await service.create({ name: "Under load", totalStock: 150 });
    await tab.go(`#/load-test?campaign=${id}`);
    await page.getByLabel("Requests").fill("200");
    await page.getByLabel("Concurrency").fill("20");
    for (const [index, path] of ["async", "sync"].entries()) {
      await page.getByLabel("Path").selectOption(path);
      await page.getByRole("button", { name: "Start" }).click();
      await until("it is done", async () => (await page.getByRole("region", { name: "Comparison" }).getByText("completed").count()) === index + 1);
    }
    assert.equal((await page.getByTestId("done").textContent()).trim(), "200 / 200");
    for (const name of ["p50", "p95", "p99"]) assert.match(await page.getByTestId(name).textContent(), /^[\d.,]+ m?s$/);
    await page.getByRole("row", { name: /sold out/ }).filter({ hasText: "200" }).waitFor();
  }));

  test("are stopped", () => within({}, async (tab, page) => {
    const id = await service.create({ name: "Stopped", totalStock: null });
    await tab.go(`#/load-test?campaign=${id}`);
    await page.getByLabel("Path").selectOption("sync");
    await page.getByLabel("Requests").fill("100000");
    await page.getByLabel("Concurrency").fill("2");
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByRole("region", { name: "Comparison" }).getByText("cancel").waitFor();
  }));

  test("name the field that is refused", () => within({ refusals: [422] }, async (tab, page) => {
    await tab.go(`#/load-test?campaign=${sold}`);
    await page.getByLabel("Concurrency").fill("5000");
    await page.getByRole("button", { name: "Start" }).click();
    await page.locator("#field-concurrency-error").filter({ hasText: "must be between" }).waitFor();
  }));
});

describe("a participant", { timeout: 60_000 }, () => {
  test("takes part, learns the place in line and gets the reward, once", () => within({ refusals: [409], token: "" }, async (tab, page) => {
    const id = await service.create({ name: "For one", kind: "points", totalStock: 5, reward: { points: 70 } });
    await service.takePart(id, [1, 2]);
    await tab.go(`#/try/${id}`);
    await page.getByRole("button", { name: "Participate", exact: true }).click();
    assert.equal(await number(page.getByTestId("rank")), 3);
    await page.getByTestId("points").filter({ hasText: "70 points" }).waitFor();
    await page.getByRole("button", { name: "Participate", exact: true }).click();
    await page.getByText("ALREADY_PARTICIPATED").waitFor();
    await page.getByRole("button", { name: /Simulate .* participants/ }).click();
    await page.getByRole("row", { name: /sold out/ }).filter({ hasText: "198" }).waitFor();
  }));

  test("pays for one reservation and gives another back", () => within({ token: "" }, async (tab, page) => {
    const id = await service.create({ name: "For money", totalStock: 5, price: 900, perUserLimit: 2, maxQuantity: 2 });
    await tab.go(`#/try/${id}`);
    await page.getByRole("button", { name: "Participate", exact: true }).click();
    const ticket = page.locator(".ticket");
    await ticket.getByText("reserved").waitFor();
    await ticket.getByText(/^[12]:\d\d$/).waitFor();
    await ticket.getByRole("button", { name: "Pay" }).click();
    await ticket.getByText("confirmed").waitFor();
    await page.getByRole("button", { name: "Participate", exact: true }).click();
    await ticket.getByText("reserved").waitFor();
    await ticket.getByRole("button", { name: "Cancel participation" }).click();
    await ticket.getByText("cancelled").waitFor();
    assert.equal((await service.ask("GET", `/api/campaigns/${id}`)).body.currentStock, 4);
  }));
});

describe("the admin token", { timeout: 60_000 }, () => {
  test("is asked for where it is needed, and kept in the tab alone", () => within({ token: "", refusals: [401] }, async (tab, page) => {
    await tab.go("#/audit");
    await page.getByLabel("Admin token").fill("not this one");
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByText("UNAUTHENTICATED").waitFor();
    await page.getByLabel("Admin token").fill(ADMIN_TOKEN);
    await page.getByRole("button", { name: "Use it" }).click();
    await page.getByRole("row", { name: /campaign.create/ }).first().waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.getItem("token")), ADMIN_TOKEN);
    assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes(ADMIN_TOKEN));
    assert.ok(!page.url().includes("token"));
    await page.getByRole("button", { name: "Forget token" }).click();
    await page.getByLabel("Admin token").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.getItem("token")), null);
  }));

  test("stands for what was done in the audit log", () => within({}, async (tab, page) => {
    const id = await service.create({ name: "Watched", totalStock: 10 });
    await service.ask("PATCH", `/api/admin/campaigns/${id}`, { totalStock: 12 });
    await tab.go(`#/audit?campaign=${id}`);
    const changed = page.getByRole("row", { name: /campaign.change/ });
    await changed.waitFor();
    assert.match(await changed.textContent(), /totalStock 10 12/);
    await page.getByLabel("Action").selectOption("campaign.create");
    await page.getByRole("button", { name: "Search" }).click();
    await changed.waitFor({ state: "detached" });
    await page.getByRole("row", { name: /campaign.create/ }).waitFor();
  }));
});

describe("every page", { timeout: 240_000 }, () => {
  const address = (page) => page.replace("ID", String(sold));

  for (const { name, options } of [
    { name: "light", options: {} },
    { name: "dark", options: { dark: true } },
    { name: "on a phone, in Korean", options: { width: 360, height: 740, language: "ko-KR" } },
  ]) {
    test(`is fit for everybody, ${name}`, () => within({ ...options, refusals: [NOT_AGGREGATED] }, async (tab, page) => {
      for (const one of PAGES) {
        await tab.go(address(one));
        await until("it is loaded", async () => (await page.locator("main .empty[role=status]").count()) === 0);
        await tab.axe(`${one}, ${name}`);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(over <= 0, `${one} is ${over} px too wide`);
        tab.fine();
      }
    }));
  }

  test("is in Korean for those who read it, and stays in the language that was chosen", () => within({ language: "ko-KR", refusals: [NOT_AGGREGATED] }, async (tab, page) => {
    for (const one of PAGES) {
      await tab.go(address(one));
      assert.equal(await page.evaluate(() => document.documentElement.lang), "ko");
      const heading = await page.locator("h1").first().textContent();
      assert.ok(/[가-힣]/.test(heading) || one.includes("ID"), `${one}: ${heading}`);
      const labels = (await page.locator("main label, main th[scope=col], main h2").allTextContents()).filter((text) => /^[A-Za-z][a-z]+/.test(text.trim()));
      assert.deepEqual(labels, one.includes("statistics/campaign") ? ["Sold already"] : one.includes("try") ? labels.filter((text) => text.startsWith("Sold already")) : [], one);
    }
    await tab.go("#/campaigns/new");
    await page.getByLabel("이름").fill("half written");
    await page.getByRole("button", { name: "English" }).click();
    assert.equal(await page.getByLabel("Name").inputValue(), "half written", "nothing is lost by it");
    await tab.go("#/campaigns");
    await page.getByRole("heading", { name: "Campaigns" }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
  }));

  test("is dark or light as the system says, unless somebody says otherwise", () => within({ dark: true }, async (tab, page) => {
    const brightness = () => page.evaluate(() => Number(/\d+/.exec(getComputedStyle(document.documentElement).backgroundColor)[0]));
    await tab.go();
    assert.ok((await brightness()) < 60);
    await page.getByRole("button", { name: /Colours/ }).click();
    assert.ok((await brightness()) > 200);
    await tab.go();
    assert.ok((await brightness()) > 200, "it is remembered");
  }));
});

describe("the keyboard alone", { timeout: 60_000 }, () => {
  test("makes a campaign, and closes it in a dialog that keeps the focus", () => within({}, async (tab, page) => {
    await tab.go();
    const focused = () => page.evaluate(() => document.activeElement.textContent?.trim() || document.activeElement.id);
    const tabTo = async (text) => {
      for (let step = 0; step < 60; step += 1) {
        await page.keyboard.press("Tab");
        const visible = await page.evaluate(() => document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none");
        assert.ok(visible, `the focus is seen: ${await focused()}`);
        if ((await focused()) === text) return;
      }
      assert.fail(`no way to ${text}`);
    };
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "Skip to the content");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    await tabTo("New campaign");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "New campaign" }).waitFor();
    await tabTo("field-name");
    await page.keyboard.type("Made by keys");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: /Made by keys/ }).waitFor();
    await tabTo("Close");
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.waitFor();
    for (let step = 0; step < 8; step += 1) {
      await page.keyboard.press("Tab");
      const outside = await page.evaluate(() => { const at = document.activeElement; return at !== document.body && !at.closest("dialog"); });
      assert.ok(!outside, "the focus stays in the dialog");
    }
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await page.waitForFunction(() => document.activeElement.textContent?.trim() === "Close", null, { timeout: 10_000 });
    await page.keyboard.press("Enter");
    await tabTo("Close");
    await page.keyboard.press("Enter");
    await page.locator("h1 .pill", { hasText: "closed" }).waitFor();
  }));
});
