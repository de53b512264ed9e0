// How long it takes until a newcomer sees something useful: from asking for the address to the first campaign in
// the list, in a browser that has nothing kept, on a service with everything embedded. Prints it; judges nothing.
import { launch, Tab } from "./browser.mjs";
import { Service } from "./service.mjs";

const LOOKS = 15;
const browser = await launch();
const service = await Service.start("embedded");
const times = [];
try {
  // The first of all is the browser's own start.
  for (let look = 0; look <= LOOKS; look += 1) {
    const tab = await Tab.open(browser, service);
    const began = performance.now();
    await tab.page.goto(`${service.address}/dashboard`);
    await tab.page.getByText("First come, first served").first().waitFor();
    if (look > 0) times.push(performance.now() - began);
    await tab.close();
  }
} finally {
  await browser.close();
  await service.stop();
}
times.sort((a, b) => a - b);
const [median, worst] = [times[Math.floor(LOOKS / 2)], times[LOOKS - 1]];
console.log(`first campaign seen after ${median.toFixed(0)} ms (median), ${worst.toFixed(0)} ms at most, of ${LOOKS} looks`);
