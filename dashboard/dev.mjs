// For development: serves the page from the sources, made anew at each load, and asks a running service for
// all else. `FIRSTCOME_URL=http://127.0.0.1:8080 PORT=8081 npm run dev`
import { createServer, request } from "node:http";
import { files } from "./files.mjs";

const service = new URL(process.env.FIRSTCOME_URL ?? "http://127.0.0.1:8080");
const port = Number(process.env.PORT ?? 8081);
const types = { js: "text/javascript", css: "text/css", txt: "text/plain", html: "text/html" };

createServer(async (asked, answer) => {
  const { pathname } = new URL(asked.url, service);
  const own = /^\/dashboard\/assets\/(.+)$/.exec(pathname);
  if (pathname !== "/dashboard" && !own) {
    const { method, headers } = asked;
    const through = request(new URL(asked.url, service), { method, headers }, (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    through.on("error", () => answer.writeHead(502).end());
    answer.on("close", () => through.destroy());
    asked.pipe(through);
    return;
  }
  try {
    const made = await files();
    const name = own ? own[1] : "index.html";
    let text = made[name] ?? "";
    if (!own) {
      // What the service tells its own page.
      const page = await (await fetch(new URL("/dashboard", service))).text();
      const about = /name="firstcome" content="([^"]*)"/.exec(page)?.[1] ?? "{}";
      text = text.replace("{{about}}", about).replace(/\{\{([^}]+)\}\}/g, "/dashboard/assets/$1");
    }
    answer.writeHead(200, { "content-type": `${types[name.split(".").pop()]}; charset=utf-8`, "cache-control": "no-store" });
    answer.end(text);
  } catch (error) {
    answer.writeHead(500, { "content-type": "text/plain" }).end(String(error));
  }
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/dashboard`));
