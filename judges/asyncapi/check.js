// Checks an AsyncAPI document: check.js DOCUMENT
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");
const Ajv = require("ajv");
const addFormats = require("ajv-formats");

// What the parser warns of although nothing is wrong, each with its reason.
const harmless = {
  // 3.1.0 has nothing that the document needs, and fewer tools read it. The parser only informs of it.
  "asyncapi-latest-version": "",
};

let wrong = 0;
const complain = (text) => {
  wrong += 1;
  console.log(`WRONG: ${text}`);
};

// What AsyncAPI's parser says. Severities: 0 error, 1 warning.
async function parse(text) {
  const { document, diagnostics } = await new Parser().parse(text);
  let counted = 0;
  for (const { severity, code, message, path } of diagnostics) {
    const place = `${code}: ${message} /${path.join("/")}`;
    if (severity > 1 || code in harmless) {
      console.log(`told: ${place}`);
    } else {
      counted += 1;
      complain(place);
    }
  }
  if (!document && counted === 0) complain("the parser made no document of it");
  console.log(`result: parser: ${counted} errors and warnings`);
}

// Calls back with a copy of a value for each required member of it, without that member.
function* incomplete(value, schema) {
  for (const member of schema.required ?? []) {
    const copy = structuredClone(value);
    delete copy[member];
    yield [member, copy];
  }
}

// A schema without a reference; only of the document itself.
function resolve(document, schema) {
  if (!schema.$ref) return schema;
  const path = schema.$ref.split("/").slice(1);
  return resolve(document, path.reduce((part, key) => part[key], document));
}

// Each example is valid by the schema of its part, and is not if a required member is missing.
function examples(document) {
  const ajv = addFormats(new Ajv({ allErrors: true, strict: true, strictRequired: false, strictTypes: false }));
  // So that references from a part to `#/components/…` lead somewhere.
  ajv.addVocabulary(["components"]);
  let valid = 0;
  let refused = 0;
  const silent = [];
  for (const [name, message] of Object.entries(document.components.messages)) {
    if (!message.examples?.length) silent.push(name);
    for (const part of ["headers", "payload"]) {
      if (message[part] === undefined) continue;
      const holds = ajv.compile({ ...message[part], components: document.components });
      for (const example of message.examples ?? []) {
        const title = `${part} of example ${example.name} of ${name}`;
        if (example[part] === undefined) complain(`${title}: there are none`);
        else if (holds(example[part])) valid += 1;
        else complain(`${title}: ${ajv.errorsText(holds.errors)}`);
        for (const [member, copy] of incomplete(example[part] ?? {}, resolve(document, message[part]))) {
          if (holds(copy)) complain(`${title}: accepted without ${member}`);
          else refused += 1;
        }
      }
    }
  }
  if (valid === 0) complain("there is no valid example");
  const without = silent.length ? `, no example of ${silent.join(", ")}` : "";
  console.log(`result: examples: ${valid} parts valid, ${refused} incomplete ones refused${without}`);
}

async function main() {
  const text = readFileSync(process.argv[2], "utf8");
  const version = (name) => require(`${name}/package.json`).version;
  console.log(`version: parser ${version("@asyncapi/parser")}, Ajv ${version("ajv")}`);
  await parse(text);
  examples(JSON.parse(text));
  process.exitCode = wrong === 0 ? 0 : 1;
}

main();
