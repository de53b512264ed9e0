// What a newcomer sees: everything embedded, nothing configured.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Tab } from "./browser.mjs";
import { Service } from "./service.mjs";

/** On loopback, from the request to the first row of the list. */
const FIRST_SCREEN_MS_MAX = 1000;
const COMPRESSED_BYTES_MAX = 150 * 1024;

let browser, service;
before(async () => {
  browser = await launch();
  service = await Service.start("embedded");
});
after(async () => {
  await browser?.close();
  await service?.stop();
});

test("the link in the log makes an admin, and the token is gone from the address at once", { timeout: 60_000 }, async () => {
  const tab = await Tab.open(browser, service);
  assert.match(service.link, /#token=[0-9a-f]{32}$/);
  const sent = [];
  tab.page.on("request", (request) => sent.push(request.url()));
  await tab.page.goto(service.link);
  await tab.page.getByRole("link", { name: "First come, first served" }).waitFor();
  assert.ok(!tab.page.url().includes(service.token));
  assert.ok(sent.every((url) => new URL(url).hash || !url.includes(service.token)), "no server has seen it");
  assert.ok(!(await tab.page.evaluate(() => JSON.stringify(history.state) + location.href)).includes(service.token));
  await tab.page.getByRole("button", { name: "Forget token" }).waitFor();
  await tab.page.getByText("Embedded mode.").waitFor();

  // The page is open already, and only what stands behind the # changes.
  await tab.page.getByRole("button", { name: "Forget token" }).click();
  await tab.page.evaluate((hash) => { location.hash = hash; }, new URL(service.link).hash);
  await tab.page.getByRole("button", { name: "Forget token" }).waitFor();
  assert.ok(!tab.page.url().includes(service.token));

  // Anybody can make a link: the token that is there stays until somebody says otherwise.
  const kept = () => tab.page.evaluate(() => sessionStorage.getItem("token"));
  await tab.page.evaluate(() => { location.hash = "#token=somebody-elses-token"; });
  const dialog = tab.page.getByRole("dialog");
  await dialog.getByText(/The link contains an admin token/).waitFor();
  assert.ok(!tab.page.url().includes("token"));
  await tab.axe("a token that a link brought");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await kept(), service.token);
  await tab.page.goto("about:blank");
  await tab.page.goto(`${new URL(service.link).origin}/dashboard#token=somebody-elses-token`);
  await dialog.getByText(/The link contains an admin token/).waitFor();
  assert.equal(await kept(), service.token);
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await tab.page.getByRole("link", { name: "Load test" }).click();
  await tab.page.getByText("FIRSTCOME_TEST_ENDPOINTS=true firstcome").waitFor();
  await tab.close();
});

test("the first screen is there in less than a second, and little is loaded for it", { timeout: 60_000 }, async () => {
  const taken = [];
  for (let round = 0; round < 3; round += 1) {
    const tab = await Tab.open(browser, service);
    let bytes = 0;
    const session = await tab.context.newCDPSession(tab.page);
    await session.send("Network.enable");
    session.on("Network.loadingFinished", ({ encodedDataLength }) => { bytes += encodedDataLength; });
    await tab.page.goto(`${service.address}/dashboard`, { waitUntil: "commit" });
    await tab.page.getByRole("link", { name: "First come, first served" }).waitFor();
    // By the page's own clock: when the request began is nought there.
    taken.push(await tab.page.evaluate(() => performance.now()));
    assert.ok(bytes < COMPRESSED_BYTES_MAX, `${bytes} bytes`);
    await tab.close();
  }
  assert.ok(Math.min(...taken) < FIRST_SCREEN_MS_MAX, `${taken.map(Math.round)} ms`);
});

test("the page may load what is its own, and run no script that is written into it", { timeout: 60_000 }, async () => {
  const page = await fetch(`${service.address}/dashboard`);
  const policy = page.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe/);
  const tab = await Tab.open(browser, service);
  await tab.go();
  tab.page.removeAllListeners("console");
  const ran = await tab.page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.ran = true";
    document.body.append(script);
    return window.ran === true;
  });
  assert.equal(ran, false);
  await tab.close();
});
