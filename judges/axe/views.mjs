// Every view of the dashboard and every state of it that looks different. Nothing is found by its text, because the
// pages are in two languages.
const dialog = (page) => page.locator("dialog[open]");
const main = (page, selector) => page.locator(`main ${selector}`);
/** The button of a form that sends it. */
const send = (page) => main(page, "form .buttons button.primary").first().click();
const alert = (page) => main(page, ".is-bad, .is-wrong").first().waitFor();

/** Clicks a button of a campaign's head, counted from the end. */
const headButton = (page, fromEnd) => main(page, `.monitor-head .aside button:nth-last-of-type(${fromEnd})`).click();

/** On the real parts, as an admin. `before` brings the page into the state. */
export const adminViews = (seed) => [
  { name: "campaigns", hash: "#/campaigns" },
  { name: "a new campaign", hash: "#/campaigns/new" },
  { name: "a new campaign with a coupon", hash: "#/campaigns/new", before: async (page) => { await page.locator("#field-reward").selectOption("coupon"); await page.locator("main input[type=checkbox]").first().check(); } },
  { name: "a new campaign that is refused", hash: "#/campaigns/new", before: async (page) => { await send(page); await alert(page); } },
  { name: "a campaign", hash: `#/campaigns/${seed.sold}`, before: (page) => page.locator("canvas").first().waitFor() },
  { name: "a campaign that is open", hash: `#/campaigns/${seed.priced}`, before: (page) => page.locator("canvas").first().waitFor() },
  { name: "a draft", hash: `#/campaigns/${seed.draft}` },
  { name: "a question before a change", hash: `#/campaigns/${seed.priced}`, before: async (page) => { await headButton(page, 2); await dialog(page).waitFor(); } },
  { name: "a campaign that does not exist", hash: "#/campaigns/987654", before: alert },
  { name: "changing a campaign", hash: `#/campaigns/${seed.sold}/edit` },
  { name: "changing a campaign that does not exist", hash: "#/campaigns/987654/edit", before: alert },
  { name: "try, without a campaign", hash: "#/try" },
  { name: "try", hash: `#/try/${seed.sold}` },
  { name: "try, a user with a reward", hash: `#/try/${seed.sold}`, before: async (page) => { await page.locator("#field-userId").fill(String(seed.user)); await main(page, ".ledger li").first().waitFor(); } },
  { name: "try, sold out", hash: `#/try/${seed.sold}`, before: async (page) => { await main(page, ".counter .primary").click(); await main(page, ".counter .notice").waitFor(); } },
  { name: "try, reserved", hash: `#/try/${seed.priced}`, before: async (page) => { await main(page, ".counter .primary").click(); await main(page, ".ticket").waitFor(); } },
  { name: "try, a crowd", hash: `#/try/${seed.sold}`, before: async (page) => { await main(page, "section .aside button").first().click(); await main(page, ".counts").first().waitFor(); } },
  { name: "statistics of a day", hash: "#/statistics", before: (page) => main(page, "table").first().waitFor() },
  { name: "statistics of a day, refused", hash: "#/statistics", before: async (page) => { await page.locator("#field-zone").fill("Nowhere/At_all"); await page.locator("#field-zone").dispatchEvent("change"); await alert(page); } },
  { name: "statistics, without a campaign", hash: "#/statistics/campaign" },
  { name: "statistics of a campaign", hash: `#/statistics/campaign/${seed.sold}` },
  { name: "order, without a campaign", hash: "#/order" },
  { name: "order", hash: `#/order/${seed.sold}`, before: (page) => main(page, "[role=img]").first().waitFor() },
  { name: "aggregation", hash: "#/aggregation", before: (page) => main(page, "table").first().waitFor() },
  { name: "system", hash: "#/system" },
  { name: "dead letters", hash: "#/dead-letters", before: (page) => main(page, "table").first().waitFor() },
  { name: "dead letters, none found", hash: "#/dead-letters", before: async (page) => { await page.locator("#field-campaignId").fill("987654"); await send(page); await main(page, ".empty").waitFor(); } },
  { name: "a dead letter", hash: "#/dead-letters", before: async (page) => { await main(page, "th button.link").first().click(); await dialog(page).locator("pre").waitFor(); } },
  { name: "replay or discard", hash: "#/dead-letters", before: async (page) => { await main(page, "section .aside button").click(); await dialog(page).locator(".primary").click(); await dialog(page).locator(".danger").waitFor(); } },
  { name: "a load test", hash: `#/load-test?campaign=${seed.bench}` },
  { name: "a load test that ran", hash: `#/load-test?campaign=${seed.bench}`, before: async (page) => { await page.locator("#field-requests").fill("50"); await send(page); await main(page, "table").first().waitFor(); } },
  { name: "a load test that is refused", hash: `#/load-test?campaign=${seed.bench}`, before: async (page) => { await page.locator("#field-concurrency").fill("5000"); await send(page); await alert(page); } },
  { name: "audit log", hash: "#/audit", before: (page) => main(page, "table").first().waitFor() },
  { name: "a page that does not exist", hash: "#/nowhere" },
];

/** On the real parts, without a token. */
export const strangerViews = (seed) => [
  { name: "a page that needs a token", hash: "#/audit" },
  { name: "a wrong token", hash: "#/audit", before: async (page) => { await page.locator("#field-token").fill("not this one"); await send(page); await alert(page); } },
  { name: "the token, in a dialog", hash: "#/campaigns", before: async (page) => { await page.locator("header .tools button").last().click(); await dialog(page).waitFor(); } },
  { name: "a campaign, for everybody", hash: `#/campaigns/${seed.sold}` },
];

const fill = async (page, { login, password }) => {
  await page.locator("#field-login").fill(login);
  await page.locator("#field-password").fill(password);
};

/** On embedded parts, where users log in. */
export const userViews = (account) => [
  { name: "a page that needs a log-in", hash: "#/system" },
  { name: "a log-in that is refused", hash: "#/system", before: async (page) => { await fill(page, { ...account, password: "not this one" }); await send(page); await alert(page); } },
  { name: "the log-in, in a dialog", hash: "#/campaigns", before: async (page) => { await page.locator("header .tools button").nth(-2).click(); await dialog(page).waitFor(); } },
  { name: "try, before the log-in", hash: "#/try/1" },
  // The last, because the tab stays logged in.
  { name: "a page that is not allowed", hash: "#/audit", before: async (page) => { await fill(page, account); await send(page); await main(page, ".is-warn").waitFor(); } },
];

/** On embedded parts, as an admin. */
export const sessionAdminViews = [
  { name: "load tests, switched off", hash: "#/load-test", before: (page) => main(page, "pre").waitFor() },
];
