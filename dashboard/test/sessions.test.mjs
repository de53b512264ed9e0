// What those find who log in by a password: auth.mode=sessions.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Tab } from "./browser.mjs";
import { Service } from "./service.mjs";

const PASSWORD = "a password of a browser test";

let browser, service, user;
before(async () => {
  browser = await launch();
  service = await Service.start("embedded", { FIRSTCOME_AUTH_MODE: "sessions" });
  const account = { login: "ada", password: PASSWORD, scopes: ["campaign:read", "campaign:write"] };
  const { status, body } = await service.ask("POST", "/api/admin/accounts", account);
  assert.equal(status, 201, JSON.stringify(body));
  user = body.id;
});
after(async () => {
  await browser?.close();
  await service?.stop();
});

async function logIn(page, password = PASSWORD) {
  await page.getByLabel("Login name").fill("ada");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("main").or(page.getByRole("dialog")).getByRole("button", { name: "Log in" }).last().click();
}

test("whoever logs in acts as admin and as participant, until they log out", { timeout: 60_000 }, async () => {
  // Nobody is logged in at first, and one password is wrong: those are answers.
  const tab = await Tab.open(browser, service, { refusals: [401] });
  const { page } = tab;
  await tab.go("#/system");
  await logIn(page, "not the one");
  await page.getByText("LOGIN_REFUSED").waitFor();
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByLabel(/Stay logged in/).check();
  await page.getByRole("main").getByRole("button", { name: "Log in" }).click();
  await page.getByRole("button", { name: "Log out" }).waitFor();
  await page.getByRole("heading", { name: "System" }).waitFor();
  await tab.axe("a page of somebody who is logged in");

  await tab.go("#/campaigns/1");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();

  await tab.go("#/try/1");
  await page.waitForFunction((id) => document.querySelector("input[readonly]")?.value === id, String(user));
  await page.getByRole("button", { name: "Take part", exact: true }).click();
  await page.getByTestId("rank").waitFor();
  assert.ok(!(await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }))).includes("session"), "no script sees it");

  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Log in" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Take part", exact: true }).isDisabled());
  await tab.close();
});

test("whoever is remembered goes on when the session is over", { timeout: 60_000 }, async () => {
  const tab = await Tab.open(browser, service, { refusals: [401] });
  const { page } = tab;
  await tab.go("#/system");
  await page.getByLabel(/Stay logged in/).check();
  await logIn(page);
  await page.getByRole("button", { name: "Log out" }).waitFor();
  const cookies = await tab.context.cookies();
  const kept = cookies.filter(({ name }) => name.includes("remember"));
  assert.equal(kept.length, 1);
  assert.ok(cookies.every(({ httpOnly }) => httpOnly));
  await tab.context.clearCookies({ name: /session/ });
  await page.reload();
  await page.getByRole("button", { name: "Log out" }).waitFor();
  await tab.close();
});

test("whoever lacks the scope for a page is told so, and sees what everybody may see", { timeout: 60_000 }, async () => {
  const account = { login: "bob", password: PASSWORD, scopes: ["stats:read"] };
  const { status } = await service.ask("POST", "/api/admin/accounts", account);
  assert.equal(status, 201);
  // A day that was not aggregated is answered 404; what is not allowed is not asked for.
  const tab = await Tab.open(browser, service, { refusals: [401, 404] });
  const { page } = tab;
  await tab.go("#/audit");
  await page.getByLabel("Login name").fill("bob");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("main").getByRole("button", { name: "Log in" }).click();
  await page.getByText("Not allowed: this takes the scope audit:read.").waitFor();
  await tab.axe("a page that is not allowed");
  for (const [hash, scope] of [["#/system", "campaign:read"], ["#/dead-letters", "deadletter:replay"], ["#/campaigns/new", "campaign:write"]]) {
    await tab.go(hash);
    await page.getByText(`Not allowed: this takes the scope ${scope}.`).waitFor();
  }
  await tab.go("#/campaigns");
  await page.getByRole("link", { name: "First come, first served" }).click();
  await page.getByTestId("left").waitFor();
  assert.equal(await page.getByRole("button", { name: "Pause" }).count(), 0);
  assert.equal(await page.getByRole("button", { name: "CSV" }).count(), 0);
  await tab.go("#/statistics");
  await page.getByRole("heading", { name: "Statistics" }).waitFor();
  await tab.close();
});
