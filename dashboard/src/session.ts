// State in the browser: the admin token until the tab is closed, language and theme permanently. Also the facts about the
// service in the page.
import { useEffect, useState } from "preact/hooks";

export interface About {
  version: string; embedded: string[]; auth: "trusted" | "jwt" | "sessions"; adminOpen: boolean; simulations: boolean; payments: "simulated" | "refused"; zone: string;
}

const told = document.querySelector<HTMLMetaElement>('meta[name="firstcome"]')?.content;
export const about: About = {
  version: "", embedded: [], auth: "trusted", adminOpen: true, simulations: false, payments: "refused", zone: "UTC",
  ...(told ? (JSON.parse(told) as Partial<About>) : {}),
};

/** A value that components can watch. */
export class Watched<T> {
  private readonly watchers = new Set<() => void>();
  constructor(private current: T) {}
  get value(): T { return this.current; }
  set value(next: T) {
    if (next === this.current) return;
    this.current = next;
    for (const watcher of [...this.watchers]) watcher();
  }
  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => { this.watchers.delete(watcher); };
  }
}

export function useWatched<T>(watched: Watched<T>): T {
  const [, again] = useState(0);
  useEffect(() => {
    const value = watched.value;
    const stop = watched.watch(() => again((count) => count + 1));
    if (value !== watched.value) again((count) => count + 1);
    return stop;
  }, [watched]);
  return watched.value;
}

// If the browser's storage is disabled, the value lasts as long as the page.
function kept(storage: () => Storage, key: string): string | null {
  try { return storage().getItem(key); } catch { return null; }
}
function keep(storage: () => Storage, key: string, value: string | null): void {
  try {
    if (value === null) storage().removeItem(key);
    else storage().setItem(key, value);
  } catch { /* see above */ }
}
const session = () => sessionStorage;
const local = () => localStorage;

/** The admin token; empty: none. */
export const token = new Watched<string>(kept(session, "token") ?? "");
token.watch(() => keep(session, "token", token.value || null));

/** A token from a link while there is another one: the user decides, because anybody can make a link. */
export const offeredToken = new Watched<string | null>(null);

/** A link from the log has the token after the #, which is sent to no server; it is removed from the URL at once. */
function takeTokenFromLink(): void {
  const found = /^#token=([^&/]+)$/.exec(location.hash);
  if (!found?.[1]) return;
  history.replaceState(null, "", `${location.pathname}#/campaigns`);
  let given: string;
  try { given = decodeURIComponent(found[1]); } catch { return; }
  if (token.value === "") token.value = given;
  else if (token.value !== given) offeredToken.value = given;
}
takeTokenFromLink();

// Also if the page is already open: then only the part after the # changes. This listener runs before the router's.
addEventListener("hashchange", takeTokenFromLink);

/** The user who is logged in by a cookie, with auth.mode=sessions. Scripts cannot read the cookie. */
export interface Login { userId: number; login: string; scopes: string[]; csrfToken: string }
export const login = new Watched<Login | null>(null);

/** Whether the user may be an admin with these scopes. */
export function useAdmin(scopes: readonly string[] = []): boolean {
  const given = useWatched(token);
  const account = useWatched(login);
  const lacking = useLacking(scopes);
  return (given !== "" || (account?.scopes.length ?? 0) > 0) && lacking === null;
}

/** The first of these scopes that is known to be missing. The scopes of a token are unknown. */
export function useLacking(scopes: readonly string[]): string | null {
  const given = useWatched(token);
  const account = useWatched(login);
  if (given !== "" || !account) return null;
  return scopes.find((scope) => !account.scopes.includes(scope)) ?? null;
}

export type Language = "en" | "ko";
const preferred = navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
const keptLanguage = kept(local, "language");
export const language = new Watched<Language>(keptLanguage === "en" || keptLanguage === "ko" ? keptLanguage : preferred);
language.watch(() => { keep(local, "language", language.value); applyLanguage(); });

export type Theme = "auto" | "light" | "dark";
const keptTheme = kept(local, "theme");
export const theme = new Watched<Theme>(keptTheme === "light" || keptTheme === "dark" ? keptTheme : "auto");
theme.watch(() => { keep(local, "theme", theme.value === "auto" ? null : theme.value); applyTheme(); });

const dark = matchMedia("(prefers-color-scheme: dark)");
/** Whether the page is dark now, by setting or by system. */
export const isDark = new Watched<boolean>(dark.matches);
dark.addEventListener("change", applyTheme);

function applyTheme(): void {
  const chosen = theme.value;
  if (chosen === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = chosen;
  isDark.value = chosen === "dark" || (chosen === "auto" && dark.matches);
}
function applyLanguage(): void { document.documentElement.lang = language.value; }
applyTheme();
applyLanguage();
