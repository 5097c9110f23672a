// The HTTP API: a function for each verb that the page uses. Error responses are thrown as ApiError.

import { saveBlob } from "../lib/save_blob.js";
import { stampEstimate } from "./task_times.js";

const KEY = "ollama-queue-key"; // in sessionStorage: for this tab only

/** `status` is 0 when the server could not be reached; `field` names the field that is wrong. */
export class ApiError extends Error {
  constructor(status, code, message, field = null) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

const apiKey = () => sessionStorage.getItem(KEY);
export const setApiKey = (key) =>
  key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY);

/** Whether this tab uses the key that begins so. */
export const usesKey = (hint) => Boolean(hint && apiKey()?.startsWith(hint));

let unauthorized = () => {};

/** `listener` is called with the reason when the server refuses the API key, "" without one. */
export const onUnauthorized = (listener) => (unauthorized = listener);

/** Relative: a proxy may serve the page below a path of its own. */
const address = (path) => new URL(`.${path}`, document.baseURI);

async function sendRequest(method, path, { query, body, headers, signal } = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const item of [value].flat())
      if (item !== null && item !== undefined && item !== "") params.append(name, item);
  }
  const allHeaders = { ...headers };
  const key = apiKey();
  if (key) allHeaders.Authorization = `Bearer ${key}`;
  if (body !== undefined && !(body instanceof Blob)) {
    allHeaders["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  const url = address(path);
  url.search = params;
  const response = await fetch(url, { method, body, headers: allHeaders, signal }).catch(
    (error) => {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "unreachable", "the server cannot be reached");
    },
  );
  if (response.ok) return response;
  const error = await errorFrom(response);
  if (error.status === 401 && key === apiKey()) unauthorized(key ? error.message : ""); // unless it was replaced meanwhile
  throw error;
}

async function errorFrom(response) {
  const body = await response.json().catch(() => null);
  const {
    code = "error",
    message = `the server answered ${response.status}`,
    field = null,
  } = body?.error ?? {};
  return new ApiError(response.status, code, message, field);
}

const requestJson = async (method, path, more) => jsonFrom(await sendRequest(method, path, more));

/** A proxy may answer with a page of its own. */
const jsonFrom = (response) =>
  response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError(
      response.status,
      "unreadable",
      "the server's answer could not be read; try again",
    );
  });

const pathOf = (path, id, verb = "") => `${path}/${encodeURIComponent(id)}${verb && `/${verb}`}`;
const idempotencyKey = () => ({
  "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`,
});

// --- tasks

export const submitTask = (task) =>
  requestJson("POST", "/api/tasks", { body: task, headers: idempotencyKey() });
/** `file` holds JSON Lines or a JSON array, and is sent unchanged. */
export const submitBatchFile = (file, isLines) =>
  requestJson("POST", "/api/tasks/batch", {
    body: file,
    headers: {
      ...idempotencyKey(),
      "Content-Type": isLines ? "application/x-ndjson" : "application/json",
    },
  });

/** A page: `{tasks, cursor, total}`. `cursor` is null on the last page, `total` where unknown. */
export async function listTasks(query, signal) {
  const response = await sendRequest("GET", "/api/tasks", { query, signal });
  const next = /<([^>]*)>; rel="next"/.exec(response.headers.get("Link") ?? "");
  const total = response.headers.get("X-Total-Count");
  return {
    tasks: (await jsonFrom(response)).map(stampEstimate),
    cursor: next && new URLSearchParams(next[1].split("?")[1]).get("cursor"),
    total: total === null ? null : Number(total),
  };
}

export const getTask = async (id, signal) =>
  stampEstimate(await requestJson("GET", pathOf("/api/tasks", id), { signal }));
export const cancelTask = (id) => requestJson("POST", pathOf("/api/tasks", id, "cancel"));
export const retryTask = (id) => requestJson("POST", pathOf("/api/tasks", id, "retry"));
export const deleteTask = (id) => requestJson("DELETE", pathOf("/api/tasks", id));
export const setPriority = (id, priority) =>
  requestJson("POST", pathOf("/api/tasks", id, "priority"), { body: { priority } });

/** `target`: {ids} or {filter}; `more`: {priority}. Returns {done, errors, left, cursor}. */
export const bulk = (verb, target, more) =>
  requestJson("POST", `/api/tasks/${verb}`, { body: { ...target, ...more } });

/** Streams a reply: yields {event: chunk|restart|end, id, data}, beginning after `lastId`. */
export async function* streamTask(id, { signal, lastId } = {}) {
  const headers = lastId ? { "Last-Event-ID": lastId } : {};
  const response = await sendRequest("GET", pathOf("/api/tasks", id, "stream"), {
    headers,
    signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const event = parseEvent(frame);
      if (event) yield event;
    }
  }
}

function parseEvent(frame) {
  const fields = {};
  for (const line of frame.split("\n")) {
    const at = line.indexOf(":");
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, "");
  }
  return (
    fields.data && { event: fields.event, id: fields.id ?? null, data: JSON.parse(fields.data) }
  );
}

// --- the queue

export const getStatus = () => requestJson("GET", "/api/status");
export const getHistory = (span = "1h") => requestJson("GET", "/api/history", { query: { span } });
export const getUsage = (query) => requestJson("GET", "/api/usage", { query });
/** A page of the audit log: {entries, cursor}. */
export const listAudit = (limit) => requestJson("GET", "/api/audit", { query: { limit } });
export const listServers = () => requestJson("GET", "/api/servers");
export const listFailures = () => requestJson("GET", "/api/failures");
export const drainBackend = (name) => requestJson("POST", pathOf("/api/backends", name, "drain"));
export const resumeBackend = (name) => requestJson("POST", pathOf("/api/backends", name, "resume"));
export const loadModel = (name, model) =>
  requestJson("POST", pathOf("/api/backends", name, "load"), { body: { model } });
export const unloadModel = (name, model) =>
  requestJson("POST", pathOf("/api/backends", name, "unload"), { body: { model } });
/** A page of webhooks' deliveries: {deliveries, cursor}. */
export const listDeliveries = (query) => requestJson("GET", "/api/deliveries", { query });
export const retryDelivery = (id) => requestJson("POST", pathOf("/api/deliveries", id, "retry"));
export const listKeys = () => requestJson("GET", "/api/keys");
export const addKey = (key) => requestJson("POST", "/api/keys", { body: key });
export const rotateKey = (name) => requestJson("POST", pathOf("/api/keys", name, "rotate"));
export const revokeKey = (name) => requestJson("DELETE", pathOf("/api/keys", name));
export const pause = () => requestJson("POST", "/api/pause");
export const resume = () => requestJson("POST", "/api/resume");

// --- batches

export const listBatches = (limit = 100) =>
  requestJson("GET", "/api/batches", { query: { limit } });
export const cancelBatch = (id) => requestJson("POST", pathOf("/api/batches", id, "cancel"));
/** The address of a file's content, for a link. */
export const fileAddress = (id) => address(pathOf("/v1/files", id, "content")).href;
/** Whether links need `saveFile`: a browser sends no API key with a link. */
export const needsKeyForFiles = () => Boolean(apiKey());

/** Has the browser save a file, named as the server says. */
export async function saveFile(id) {
  const response = await sendRequest("GET", pathOf("/v1/files", id, "content"));
  const named = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("Content-Disposition") ?? "");
  saveBlob(await response.blob(), named ? decodeURIComponent(named[1]) : id);
}
export const getBatch = (id) => requestJson("GET", pathOf("/api/batches", id));

// --- crons

export const listCrons = () => requestJson("GET", "/api/cron");
export const addCron = (cron) => requestJson("POST", "/api/cron", { body: cron });
export const updateCron = (id, change) =>
  requestJson("PUT", pathOf("/api/cron", id), { body: change });
export const removeCron = (id) => requestJson("DELETE", pathOf("/api/cron", id));
export const enableCron = (id) => requestJson("PUT", pathOf("/api/cron", id, "enable"));
export const disableCron = (id) => requestJson("PUT", pathOf("/api/cron", id, "disable"));
export const runCron = (id) => requestJson("POST", pathOf("/api/cron", id, "run"));
/** The next times of a cron expression: {next: [times]}. */
export const testCron = (cron_expr, timezone, count = 5) =>
  requestJson("POST", "/api/cron/test", { body: { cron_expr, timezone, count } });

// --- the feed

/** A WebSocket to the feed. */
export function openSocket() {
  const url = address("/ws");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (!apiKey()) return new WebSocket(url);
  // The server selects the first, so that the key is not sent back.
  return new WebSocket(url, ["ollama-queue", `key.${base64url(apiKey())}`]);
}

function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
