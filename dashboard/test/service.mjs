// Starts the service that the tests look at: on the real parts if the environment names them, otherwise on
// embedded ones. Each has a schema, a key prefix and topics of its own, so that tests run side by side.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
export const ADMIN_TOKEN = "an admin token of a browser test";
const START_SECONDS_MAX = 60;
const STOP_SECONDS_MAX = 30;

const real = ["FIRSTCOME_DATABASE_URL", "FIRSTCOME_REDIS_URL", "FIRSTCOME_KAFKA_BROKERS"].every((name) => process.env[name]);

const script = process.env.FIRSTCOME_PARTS_SCRIPT ?? join(root, "scripts/parts");

function mysql(...args) {
  return execFileSync(script, ["cli", "mysql", "-N", "-B", ...args], { encoding: "utf8" });
}

export class Service {
  /** `embedded` needs nothing but the binary; `real` takes the parts that the environment names. */
  static async start(parts, settings = {}) {
    if (parts === "real" && !real) throw new Error("the real parts are not named: run it by `make dashboard-test`, or by `scripts/parts env -- npm test`");
    const service = new Service();
    service.folder = mkdtempSync(join(tmpdir(), "firstcome-dashboard-"));
    service.schema = null;
    const environment = { FIRSTCOME_DATA_DIR: join(service.folder, "data"), FIRSTCOME_HTTP_LISTEN: "127.0.0.1:0", ...settings };
    if (parts === "real") Object.assign(environment, service.own());
    const binary = process.env.FIRSTCOME_BINARY ?? join(root, "target/debug/firstcome");
    if (!existsSync(binary)) throw new Error(`there is no ${binary}: run cargo build, or set FIRSTCOME_BINARY`);
    Object.assign(service, { binary, environment, others: [] });
    service.child = spawn(binary, [], { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    service.address = await service.ready();
    return service;
  }

  /** What belongs to this service alone. */
  own() {
    const name = `fc_dashboard_${process.pid}_${Math.floor(Math.random() * 1e6)}`;
    this.schema = name;
    mysql("-e", `CREATE DATABASE ${name}`);
    const url = new URL(process.env.FIRSTCOME_DATABASE_URL);
    url.pathname = `/${name}`;
    return {
      FIRSTCOME_DATABASE_URL: url.toString(),
      FIRSTCOME_REDIS_URL: process.env.FIRSTCOME_REDIS_URL, FIRSTCOME_REDIS_PREFIX: name,
      FIRSTCOME_KAFKA_BROKERS: process.env.FIRSTCOME_KAFKA_BROKERS, FIRSTCOME_KAFKA_TOPIC_PREFIX: name, FIRSTCOME_KAFKA_CREATE_TOPICS: "true",
      FIRSTCOME_PAYMENT_ALLOW_SIMULATED: "true",
      FIRSTCOME_CONSUMERS_ENABLED: "points,coupons", FIRSTCOME_ADMIN_TOKEN: ADMIN_TOKEN,
    };
  }

  /** Waits until it says that it is ready, and where; also takes what it says of the dashboard. */
  ready() {
    const tellsToken = this.schema === null && !this.environment.FIRSTCOME_ADMIN_TOKEN;
    return new Promise((resolve, reject) => {
      let text = "";
      const late = setTimeout(() => reject(new Error(`does not start:\n${text}`)), START_SECONDS_MAX * 1000);
      this.child.once("exit", (code) => reject(new Error(`ended with ${code}:\n${text}`)));
      let address = null;
      this.child.stderr.on("data", (piece) => {
        text += piece;
        address ??= /ready address=(\S+)\s/.exec(text)?.[1] ?? null;
        // What is written in one go may come in pieces: a line counts when it has ended.
        this.token ??= /Admin token (\S+)\s/.exec(text)?.[1];
        this.link ??= /Dashboard {3}(\S+)\n/.exec(text)?.[1];
        if (!address || (tellsToken && !(this.token && this.link))) return;
        clearTimeout(late);
        resolve(`http://${address}`);
      });
    });
  }

  async ask(method, path, body, headers = {}) {
    const response = await fetch(this.address + path, {
      method, headers: { "content-type": "application/json", authorization: `Bearer ${this.token ?? ADMIN_TOKEN}`, ...headers },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : null };
  }

  async create(campaign) {
    const { status, body } = await this.ask("POST", "/api/admin/campaigns", campaign);
    if (status !== 201) throw new Error(`${status} ${JSON.stringify(body)}`);
    return body.id;
  }

  /** So many users take part, some at a time. */
  async takePart(campaign, users, lanes = 8) {
    const left = [...users];
    const lane = async () => {
      for (let user = left.pop(); user !== undefined; user = left.pop()) {
        await this.ask("POST", `/api/campaigns/${campaign}/participation`, { userId: user });
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }

  /** Gives up what was published of a campaign, as the relay does after the last attempt. */
  giveUp(campaign) {
    mysql(this.schema, "-e", `INSERT INTO outbox_parked (campaign_id, sequence, event_id, topic, message_key, key_hash, state, attempts, error_class, error, next_at, parked_at, copied_at) \
      SELECT campaign_id, sequence, id, aggregatetype, message_key, 0, 'dead', 10, 'record', 'Broker: Message size too large', NULL, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) \
      FROM outbox_event WHERE campaign_id = ${Number(campaign)} AND aggregatetype = 'participation' AND id NOT IN (SELECT event_id FROM outbox_parked)`);
  }

  /** Keeps a row of the statistics from being written, until the function that it answers is called. */
  async holdBack(day, campaign) {
    const client = spawn(script, ["cli", "mysql", "-N", "-B", "-n", this.schema], { stdio: ["pipe", "pipe", "inherit"] });
    const held = new Promise((resolve, reject) => {
      client.stdout.once("data", resolve);
      client.once("exit", (code) => reject(new Error(`mysql ended with ${code}`)));
    });
    client.stdin.write(`BEGIN; SELECT 1 FROM daily_stat WHERE zone = 'UTC' AND day = '${day}' AND campaign_id = ${Number(campaign)} FOR UPDATE;\n`);
    await held;
    return () => new Promise((resolve) => {
      client.removeAllListeners("exit");
      client.once("exit", resolve);
      client.stdin.end("ROLLBACK;\n");
    });
  }

  /** Another process that publishes for the same installation. */
  async relay() {
    const child = spawn(this.binary, ["relay"], { env: { ...this.environment, FIRSTCOME_HTTP_LISTEN: "127.0.0.1:0" }, stdio: ["ignore", "ignore", "inherit"] });
    this.others.push(child);
    return child;
  }

  async stop() {
    for (const child of [...this.others, this.child]) await ended(child);
    if (this.schema) mysql("-e", `DROP DATABASE IF EXISTS ${this.schema}; DROP DATABASE IF EXISTS ${this.schema}_rewards`);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Asks a process to end, and makes it if it does not. */
function ended(child) {
  child.removeAllListeners("exit");
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_SECONDS_MAX * 1000);
    child.once("exit", () => { clearTimeout(late); resolve(); });
    child.kill("SIGTERM");
  });
}
