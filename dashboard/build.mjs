// Writes dist/, which is committed: `cargo build` takes it from there and needs no Node.
//
//   node build.mjs           write it
//   node build.mjs --check   exit 1 if what is committed is not what the sources give
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { files, here } from "./files.mjs";

const COMPRESSED_BYTES_MAX = 150 * 1024;

const folder = join(here, "dist");
const made = await files();

if (process.argv.includes("--check")) {
  await check();
} else {
  await write();
}

async function write() {
  await mkdir(folder, { recursive: true });
  let total = 0;
  for (const [name, text] of Object.entries(made)) {
    await writeFile(join(folder, name), text);
    if (name === "index.html") continue;
    // The page is completed by the service and so cannot be compressed beforehand.
    const compressed = gzipSync(text, { level: 9 });
    await writeFile(join(folder, `${name}.gz`), compressed);
    total += compressed.length;
    console.log(`${name.padEnd(16)} ${String(text.length).padStart(7)}  ${String(compressed.length).padStart(6)} compressed`);
  }
  if (total > COMPRESSED_BYTES_MAX) throw new Error(`${total} bytes compressed, and ${COMPRESSED_BYTES_MAX} are allowed`);
}

// What is compressed is compared by what is in it: another release of zlib may pack it otherwise.
async function check() {
  const wrong = [];
  for (const [name, text] of Object.entries(made)) {
    const committed = await readFile(join(folder, name), "utf8").catch(() => "");
    if (committed !== text) wrong.push(name);
    if (name === "index.html") continue;
    const unpacked = await readFile(join(folder, `${name}.gz`)).then((bytes) => gunzipSync(bytes).toString("utf8")).catch(() => "");
    if (unpacked !== text) wrong.push(`${name}.gz`);
  }
  if (wrong.length > 0) {
    console.error(`dashboard/dist is not what the sources give: ${wrong.join(", ")}. Run \`make dashboard\` and commit it.`);
    process.exit(1);
  }
  console.log("dashboard/dist is what the sources give");
}
