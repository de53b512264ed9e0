// Requests to the service. An error response becomes a Problem, with its code and the fields at fault.
import { about, login, token, type Login } from "./session";

export interface FieldProblem { field: string; problem: string }

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly errors: FieldProblem[] = [],
    readonly members: Record<string, unknown> = {},
  ) {
    super(detail);
  }
  /** Whether a token, or another one, would help. */
  get wantsToken(): boolean { return this.code === "UNAUTHENTICATED" || this.code === "INVALID_TOKEN"; }
}

export interface Asking {
  body?: unknown;
  /** The token of the request; by default the admin token. */
  as?: string | null;
  signal?: AbortSignal;
}

async function answered(method: string, path: string, { body, as, signal }: Asking): Promise<Response> {
  const headers: Record<string, string> = {};
  const authorization = as === undefined ? (token.value ? `Bearer ${token.value}` : null) : as;
  if (authorization) headers["authorization"] = authorization;
  // A change that a cookie authenticates needs the CSRF token.
  else if (login.value && method !== "GET") headers["x-csrf-token"] = login.value.csrfToken;
  if (body !== undefined) headers["content-type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(path, {
      method, headers, cache: "no-store",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "NO_ANSWER", "The service does not answer.");
  }
  if (response.ok) return response;
  const text = await response.text();
  let said: Record<string, unknown> = {};
  try { said = JSON.parse(text) as Record<string, unknown>; } catch { /* the response of a proxy */ }
  const errors = Array.isArray(said["errors"]) ? (said["errors"] as FieldProblem[]) : [];
  throw new Problem(
    response.status,
    typeof said["code"] === "string" ? said["code"] : `HTTP_${response.status}`,
    typeof said["detail"] === "string" ? said["detail"] : response.statusText,
    errors, said,
  );
}

export async function ask<T>(method: string, path: string, asking: Asking = {}): Promise<T> {
  return (await answered(method, path, asking)).json() as Promise<T>;
}
export const get = <T>(path: string, asking: Asking = {}) => ask<T>("GET", path, asking);
export const post = <T>(path: string, body?: unknown, asking: Asking = {}) =>
  ask<T>("POST", path, { ...asking, body: body ?? {} });
export const patch = <T>(path: string, body: unknown) => ask<T>("PATCH", path, { body });

/** Loads the current session, or resumes a remembered log-in. */
export async function resume(): Promise<void> {
  if (about.auth !== "sessions") return;
  const nobody = (error: unknown): null => {
    if (error instanceof Problem) return null;
    throw error;
  };
  login.value = await get<Login>("/api/session", { as: null }).catch(nobody)
    ?? await post<Login>("/api/session/resume", {}, { as: null }).catch(nobody);
}

/** Logs in, with a one-time code or a recovery code if the account needs one. */
export async function logIn(name: string, password: string, rememberMe: boolean, code: string): Promise<void> {
  const asked = { login: name, password, rememberMe, ...(code === "" ? {} : { code }) };
  login.value = await post<Login>("/api/session", asked, { as: null });
}

export async function logOut(): Promise<void> {
  await answered("DELETE", "/api/session", { as: null });
  login.value = null;
}

/** Saves a response as a file. */
export async function download(path: string, name: string): Promise<void> {
  const blob = await (await answered("GET", path, {})).blob();
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}

/** A query string of the values that are not empty. */
export function query(values: Record<string, string | number | null | undefined>): string {
  const entries = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(entries.map(([key, value]) => [key, String(value)])).toString();
  return text ? `?${text}` : "";
}
