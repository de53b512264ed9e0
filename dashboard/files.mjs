// What the dashboard is made of: one script, one style sheet, one page, and the licences of what is in
// them. Made here and nowhere else, so that the committed files, the check of them and the server for
// development agree.
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

export const here = dirname(fileURLToPath(import.meta.url));

// Compresses no further than is worth it: what browsers since 2023 understand stays as it is.
const options = {
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx" },
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "external",
  charset: "utf8",
  metafile: true,
  write: false,
};

/** All files by name, uncompressed. */
export async function files() {
  const made = await esbuild.build(options);
  const text = (name) => made.outputFiles.find((file) => file.path.endsWith(name))?.text ?? "";
  return {
    "index.html": await readFile(join(here, "src/index.html"), "utf8"),
    "app.js": text("app.js"),
    "app.css": text("app.css"),
    "THIRD_PARTY.txt": await thirdParty(made.metafile, text("LEGAL.txt")),
  };
}

/** The licences of the packages that are in the bundle, and what their sources say of themselves. */
async function thirdParty(metafile, legal) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) packages.add(found[1]);
  }
  const parts = ["The dashboard contains the following software of others.\n"];
  for (const name of [...packages].sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license, homepage } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const text = await readFile(join(folder, "LICENSE"), "utf8");
    const about = homepage ? `\n${homepage.replace(/#.*/, "")}` : "";
    parts.push(`${"-".repeat(72)}\n${name} ${version} (${license})${about}\n\n${text.trim()}\n`);
  }
  if (legal.trim()) parts.push(`${"-".repeat(72)}\nFrom their sources:\n\n${legal.trim()}\n`);
  return parts.join("\n");
}
