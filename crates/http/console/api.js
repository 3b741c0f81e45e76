/**
 * The gateway's public API, and the key that this tab uses for it. The key lives in the tab's
 * sessionStorage: other tabs do not have it, and it is gone when the tab is closed.
 */

const SLOT = "invite-gateway.key";

/** Fired on `window` when the gateway no longer takes the key. */
export const SIGNED_OUT = "gateway:signed-out";

/** Fired on `window` when the gateway said that the key lacks a scope. */
export const REFUSED = "gateway:refused";

/** How long a read and a change may take, in milliseconds; a gateway that hangs does not answer. */
const READ = 10_000;
const CHANGE = 120_000;

/** The scopes that the key was refused for: the API does not tell a key what it may do. */
const missing = new Set();

export function lacks(scope) {
  return missing.has(scope);
}

export function key() {
  return sessionStorage.getItem(SLOT);
}

export function keepKey(secret) {
  missing.clear();
  sessionStorage.setItem(SLOT, secret);
}

export function dropKey() {
  sessionStorage.removeItem(SLOT);
}

/** An answer that is no success, as the API's problem details say it (RFC 9457). */
export class Problem extends Error {
  constructor(details) {
    super(details.title);
    this.details = details;
  }

  get code() {
    return this.details.code;
  }

  get status() {
    return this.details.status;
  }
}

/** Why a call that the page no longer waits for ended. */
export function isAbort(error) {
  return error?.name === "AbortError";
}

function address(path, query) {
  const url = new URL(`../v1/${path}`, document.baseURI);
  for (const [name, value] of query instanceof URLSearchParams ? query : Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.append(name, value);
  }
  return url;
}

/**
 * One call. `path` is what follows `/v1/`, its variable parts encoded with encodeURIComponent.
 * @param {string} method
 * @param {string} path
 * @param {{ query?: any, body?: unknown, toml?: string, headers?: Record<string, string>,
 *   secret?: string, signal?: AbortSignal, patience?: number }} [how] `patience` in milliseconds:
 *   longer than for other reads where the gateway asks a provider first
 * @returns {Promise<{ data: any, headers: Headers }>}
 */
export async function call(method, path, { query, body, toml, headers, secret, signal, patience } = {}) {
  const late = AbortSignal.timeout(patience ?? (method === "GET" ? READ : CHANGE));
  const send = new Headers({ Authorization: `Bearer ${secret ?? key()}`, ...headers });
  if (body !== undefined) send.set("Content-Type", "application/json");
  if (toml !== undefined) send.set("Content-Type", "application/toml");
  let response, text;
  try {
    response = await fetch(address(path, query), {
      method, headers: send, signal: signal ? AbortSignal.any([signal, late]) : late, body: toml ?? (body === undefined ? undefined : JSON.stringify(body)),
      cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer",
    });
    text = await response.text();
  } catch (error) {
    if (isAbort(error)) throw error;
    const isChange = method !== "GET" && !/\/(check|probe|test)$/.test(path);
    throw new Problem({
      code: "unreachable", title: "The gateway does not answer",
      detail: `It cannot be reached from this browser just now.${isChange ? " The change may have been made: look before you repeat it." : ""}`,
    });
  }
  if (!response.ok) {
    const details = problemOf(response, text);
    if (secret === undefined) notice(details);
    throw new Problem(details);
  }
  return { data: read(response, text), headers: response.headers };
}

/** What a refusal says of the key itself. */
function notice({ status, code, detail }) {
  if (status === 401) window.dispatchEvent(new Event(SIGNED_OUT));
  if (code !== "insufficient-scope") return;
  const scope = detail.split(" ").at(-1);
  if (missing.has(scope)) return;
  missing.add(scope);
  window.dispatchEvent(new Event(REFUSED));
}

function read(response, text) {
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  return isJson && text !== "" ? JSON.parse(text) : text;
}

function problemOf(response, text) {
  try {
    const details = JSON.parse(text);
    if (details && typeof details.title === "string") return { status: response.status, ...details };
  } catch {
    // Something between the browser and the gateway answered.
  }
  return {
    status: response.status, code: `http-${response.status}`, title: `HTTP status ${response.status}`,
    detail: "The answer is not the gateway's; look at what stands between it and this browser.",
  };
}

/** Reads JSON. */
export async function get(path, query, signal, patience) {
  return (await call("GET", path, { query, signal, patience })).data;
}

/** Counts the invites of no batch: it needs the scopes that actions need, and reads nobody's. */
const COUNTING = { action: "refresh", filter: { batch_id: `bat_${"0".repeat(32)}` }, dry_run: true };

/** Finds out what the key may not do; one that makes keys is taken for an administrator's, who may do everything. */
export async function learn() {
  try {
    await get("admin/keys");
  } catch {
    await Promise.allSettled([
      get("providers"), get("invites", { limit: 1 }), get("invites", { limit: 1, tenant: "default" }), get("webhooks"),
      get("admin/audit", { limit: 1 }), call("GET", "admin/config"), call("POST", "invites/actions", { body: COUNTING }),
    ]);
  }
}
