// The frame of all pages: the user, the navigation, the language and the theme.
import { useEffect, useRef, useState } from "preact/hooks";
import { get, logIn, logOut, Problem, resume } from "./api";
import { learnDrift, useGet } from "./live";
import { Aggregation } from "./pages/aggregation";
import { Audit } from "./pages/audit";
import { Campaigns } from "./pages/campaigns";
import { DeadLetters } from "./pages/dead_letters";
import { CampaignForm } from "./pages/form";
import { LoadTest } from "./pages/load_test";
import { Monitor } from "./pages/monitor";
import { Order } from "./pages/order";
import { Statistics } from "./pages/statistics";
import { SystemPage } from "./pages/system";
import { Try } from "./pages/try";
import { place, type Place } from "./router";
import { about, language, login, offeredToken, theme, token, useAdmin, useLacking, useWatched, type Theme } from "./session";
import { Confirm, Dialog, Field, Notice, Refused, useAction } from "./ui";
import { t, word, type Key } from "./words";

/** `scopes`: the scopes that the page needs. */
interface Found { title: string; nav: string; admin: boolean; scopes?: string[]; page: preact.JSX.Element }

const NAV: [string, Key][] = [
  ["campaigns", "nav.campaigns"], ["try", "nav.try"], ["statistics", "nav.statistics"], ["order", "nav.order"],
  ["aggregation", "nav.aggregation"], ["system", "nav.system"], ["dead-letters", "nav.deadLetters"],
  ["load-test", "nav.loadTest"], ["audit", "nav.audit"],
];

function find({ path: [first = "campaigns", second, third], query }: Place): Found {
  const id = Number(second);
  const nav = first;
  switch (first) {
    case "campaigns":
      if (second === "new") return { title: t("form.new"), nav, admin: true, scopes: ["campaign:write"], page: <CampaignForm id={null} /> };
      if (third === "edit") return { title: t("form.edit"), nav, admin: true, scopes: ["campaign:read", "campaign:write"], page: <CampaignForm key={id} id={id} /> };
      if (id > 0) return { title: `#${id}`, nav, admin: false, page: <Monitor key={id} id={id} /> };
      return { title: t("nav.campaigns"), nav, admin: false, page: <Campaigns /> };
    case "try": return { title: t("nav.try"), nav, admin: false, page: <Try key={second} id={id || null} /> };
    case "statistics": return { title: t("nav.statistics"), nav, admin: true, scopes: ["stats:read"], page: <Statistics tab={second === "campaign" ? "campaign" : "day"} id={Number(third) || null} /> };
    case "order": return { title: t("nav.order"), nav, admin: true, scopes: ["stats:read"], page: <Order key={second} id={id || null} /> };
    case "aggregation": return { title: t("nav.aggregation"), nav, admin: true, scopes: ["stats:read"], page: <Aggregation date={query.get("date")} /> };
    case "system": return { title: t("nav.system"), nav, admin: true, scopes: ["campaign:read"], page: <SystemPage /> };
    case "dead-letters": return { title: t("nav.deadLetters"), nav, admin: true, scopes: ["deadletter:replay"], page: <DeadLetters /> };
    case "load-test": return { title: t("nav.loadTest"), nav, admin: true, scopes: ["test:run"], page: <LoadTest campaign={Number(query.get("campaign")) || null} /> };
    case "audit": return { title: t("nav.audit"), nav, admin: true, scopes: ["audit:read"], page: <Audit campaign={query.get("campaign")} /> };
    default: return { title: t("lost.title"), nav, admin: false, page: <><h1>{t("lost.title")}</h1><p><a href="#/campaigns">{t("lost.back")}</a></p></> };
  }
}

export function App() {
  const where = useWatched(place);
  useWatched(language);
  const given = useWatched(token);
  const admin = useAdmin();
  const [signing, setSigning] = useState(false);
  const main = useRef<HTMLElement>(null);
  const found = find(where);
  const lacking = useLacking(found.scopes ?? []);
  const offered = useWatched(offeredToken);
  const first = useRef(true);
  useEffect(() => { void learnDrift(); void resume(); }, []);
  useEffect(() => { document.title = `${found.title} · firstcome`; }, [found.title]);
  useEffect(() => {
    // Moves the focus to the new page, for users of the keyboard.
    if (first.current) first.current = false;
    else { main.current?.focus({ preventScroll: true }); scrollTo(0, 0); }
  }, [where]);
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>{t("skip")}</a>
      <header>
        <a class="mark" href="#/campaigns"><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 3h12v2H2zM2 7h8v2H2zM2 11h4v2H2z" /></svg>firstcome</a>
        <nav aria-label={t("nav.label")}>
          <ul>{NAV.map(([path, key]) => (
            <li key={path}><a href={`#/${path}`} aria-current={found.nav === path ? "page" : undefined}>{t(key)}</a></li>
          ))}</ul>
        </nav>
        <div class="tools">
          <Health />
          <Tools />
          {about.auth === "sessions" && <Account />}
          {given
            ? <button class="quiet" onClick={() => { token.value = ""; }} title={t("token.forgetHint")}>{t("token.forget")}</button>
            : <button class="quiet" onClick={() => setSigning(true)}>{t("token.enter")}</button>}
        </div>
      </header>
      <Installation />
      <main id="main" ref={main} tabIndex={-1}>
        {found.admin && !admin ? <><h1>{found.title}</h1><TokenNeeded /></>
          : lacking ? <><h1>{found.title}</h1><Notice tone="warn"><p>{t("scope.missing", { scope: lacking })}</p></Notice></>
          : found.page}
      </main>
      <footer>
        <span>firstcome {about.version}</span>
        <a href="/swagger-ui">API</a><a href="/openapi.json">OpenAPI</a><a href="/metrics">{t("footer.metrics")}</a>
        <a href={document.querySelector<HTMLMetaElement>('meta[name="licences"]')?.content ?? ""}>{t("footer.licences")}</a>
      </footer>
      {offered && (
        <Confirm title={t("token.offered")} yes={t("token.replace")} onYes={async () => { token.value = offered; }} onClose={() => { offeredToken.value = null; }}>
          <p>{t("token.offered.ask")}</p>
        </Confirm>
      )}
      {signing && <Dialog title={t("token.title")} onClose={() => setSigning(false)}><TokenForm onDone={() => setSigning(false)} /></Dialog>}
    </div>
  );
}

/** What is not real in this installation. */
function Installation() {
  const simulated = about.payments === "simulated" && about.embedded.length < 3;
  if (about.embedded.length === 0 && !simulated) return null;
  return (
    <aside aria-label={t("installation.label")}>
      {about.embedded.length > 0 && (
        <p class="embedded"><b>{t("embedded.title")}</b> {t("embedded.parts", { parts: about.embedded.map((part) => word(`part.${part}`, part)).join(", ") })}</p>
      )}
      {simulated && <p class="embedded"><b>{t("payments.title")}</b> {t("payments.simulated")}</p>}
    </aside>
  );
}

/** The readiness of the service, in a word. */
function Health() {
  const { data, problem } = useGet<{ status: string }>("/readyz", 5000);
  const status = problem ? (problem.status === 503 ? "not_ready" : "no_answer") : data?.status ?? "asking";
  return (
    <a href="#/system" class={`health is-${status}`} title={t("health.title")}>
      <i aria-hidden="true" /><span>{word(`health.${status}`, status)}</span>
    </a>
  );
}

function Tools() {
  const lang = useWatched(language);
  const colours = useWatched(theme);
  const next: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
  const sign: Record<Theme, string> = { auto: "◐", light: "○", dark: "●" };
  return (
    <>
      <button class="quiet" lang={lang === "en" ? "ko" : "en"} onClick={() => { language.value = lang === "en" ? "ko" : "en"; }}>
        {lang === "en" ? "한국어" : "English"}
      </button>
      <button class="quiet" onClick={() => { theme.value = next[colours]; }} aria-label={t("theme.label", { theme: t(`theme.${colours}`) })} title={t(`theme.${colours}`)}>
        {sign[colours]}
      </button>
    </>
  );
}

export function TokenNeeded() {
  return (
    <div class="gatekeeper">
      {about.auth === "sessions" && <><p>{t("login.needed")}</p><LoginForm onDone={() => undefined} /></>}
      <p>{t("token.needed")}</p>
      <TokenForm onDone={() => undefined} />
    </div>
  );
}

/** The user, with log-in and log-out. */
function Account() {
  const account = useWatched(login);
  const [open, setOpen] = useState(false);
  const { busy, run } = useAction();
  return (
    <>
      {account
        ? <button class="quiet" disabled={busy} onClick={() => run(logOut)} title={account.login}>{t("login.out")}</button>
        : <button class="quiet" onClick={() => setOpen(true)}>{t("login.enter")}</button>}
      {open && <Dialog title={t("login.enter")} onClose={() => setOpen(false)}><LoginForm onDone={() => setOpen(false)} /></Dialog>}
    </>
  );
}

export function LoginForm({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [remember, setRemember] = useState(false);
  const [code, setCode] = useState("");
  const [needsCode, setNeedsCode] = useState(false);
  const { busy, problem, run } = useAction();
  useEffect(() => { if (problem?.code === "CODE_REQUIRED") setNeedsCode(true); }, [problem]);
  const submit = (event: Event) => {
    event.preventDefault();
    void run(async () => { await logIn(name, password, remember, code.trim()); onDone(); });
  };
  return (
    <form class="narrow" onSubmit={submit}>
      <Field name="login" label={t("login.name")} problem={problem}>
        {(input) => <input {...input} autocomplete="username" required value={name} onInput={(event) => setName(event.currentTarget.value)} />}
      </Field>
      <Field name="password" label={t("login.password")} problem={problem}>
        {(input) => <input {...input} type="password" autocomplete="current-password" required value={password} onInput={(event) => setPassword(event.currentTarget.value)} />}
      </Field>
      {needsCode && (
        <Field name="code" label={t("login.code")} hint={t("login.codeHint")} problem={problem}>
          {(input) => <input {...input} autocomplete="one-time-code" autofocus required minLength={6} value={code} onInput={(event) => setCode(event.currentTarget.value)} />}
        </Field>
      )}
      <label class="check"><input type="checkbox" checked={remember} onInput={(event) => setRemember(event.currentTarget.checked)} /> {t("login.remember")}</label>
      <Refused problem={problem} />
      <div class="buttons"><button class="primary" disabled={busy || name === "" || password === ""}>{t("login.enter")}</button></div>
    </form>
  );
}

/** Stores a token if the service accepts it. */
export function TokenForm({ onDone }: { onDone: () => void }) {
  const [given, setGiven] = useState("");
  const { busy, problem, run } = useAction();
  if (!about.adminOpen) return <Notice tone="warn"><p>{t("token.closed")} <code>FIRSTCOME_ADMIN_TOKEN</code></p></Notice>;
  const submit = (event: Event) => {
    event.preventDefault();
    void run(async () => {
      try { await get("/api/admin/campaigns?limit=1", { as: `Bearer ${given.trim()}` }); }
      catch (error) {
        // The token is valid, but lacks this scope: it may be for other pages.
        if (!(error instanceof Problem && error.code === "MISSING_SCOPE")) throw error;
      }
      token.value = given.trim();
      onDone();
    });
  };
  return (
    <form class="narrow" onSubmit={submit}>
      <Field name="token" label={t("token.label")} hint={about.embedded.length === 3 ? t("token.hintEmbedded") : t("token.hint")}>
        {(input) => <input {...input} type="password" autocomplete="off" required value={given} onInput={(event) => setGiven(event.currentTarget.value)} />}
      </Field>
      <Refused problem={problem} />
      <div class="buttons"><button class="primary" disabled={busy || given.trim() === ""}>{t("token.use")}</button></div>
    </form>
  );
}
