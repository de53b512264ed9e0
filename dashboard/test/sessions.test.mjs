// What those find who log in by a password: auth.mode=sessions.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
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
  await page.getByRole("button", { name: "Participate", exact: true }).click();
  await page.getByTestId("rank").waitFor();
  assert.ok(!(await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }))).includes("session"), "no script sees it");

  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByRole("button", { name: "Log in" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Participate", exact: true }).isDisabled());
  await tab.close();
});

/** What an authenticator app makes of a secret, so many steps from now (RFC 6238). */
function oneTimeCode(secret, steps) {
  const bits = [...secret].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const hash = createHmac("sha1", key).update(step).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

test("whoever has one-time codes is asked for one", { timeout: 60_000 }, async () => {
  const tab = await Tab.open(browser, service, { refusals: [401] });
  const { page } = tab;
  await tab.go("#/system");
  await logIn(page);
  await page.getByRole("button", { name: "Log out" }).waitFor();
  const codes = (path, asked) => page.evaluate(async ([path, asked]) => {
    const { csrfToken } = await (await fetch("/api/session")).json();
    const headers = { "content-type": "application/json", "x-csrf-token": csrfToken };
    return (await fetch(`/api/session/totp${path}`, { method: "POST", headers, body: JSON.stringify(asked) })).json();
  }, [path, asked]);
  const { secret } = await codes("", { currentPassword: PASSWORD });
  const { recoveryCodes } = await codes("/confirm", { code: oneTimeCode(secret, 0) });
  assert.equal(recoveryCodes.length, 10);
  await page.reload();
  await page.getByRole("button", { name: "Log out" }).click();

  assert.equal(await page.getByLabel("One-time code").count(), 0, "nobody is asked before it is known");
  await logIn(page);
  await page.getByText("CODE_REQUIRED").waitFor();
  await page.getByLabel("One-time code").fill("000000");
  await tab.axe("a log-in that needs a code");
  const enter = page.getByRole("main").getByRole("button", { name: "Log in" });
  await enter.click();
  await page.getByText("CODE_REFUSED").waitFor();
  await page.getByLabel("One-time code").fill(oneTimeCode(secret, 1));
  await enter.click();
  await page.getByRole("button", { name: "Log out" }).waitFor();
  await codes("/disable", { currentPassword: PASSWORD, code: recoveryCodes[0] });
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
  await page.getByText("Not allowed: requires the scope audit:read.").waitFor();
  await tab.axe("a page that is not allowed");
  for (const [hash, scope] of [["#/system", "campaign:read"], ["#/dead-letters", "deadletter:replay"], ["#/campaigns/new", "campaign:write"]]) {
    await tab.go(hash);
    await page.getByText(`Not allowed: requires the scope ${scope}.`).waitFor();
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
