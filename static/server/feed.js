// The feed over a WebSocket: a snapshot, then each change. Reconnects by itself.

import { getStatus, openSocket } from "./api.js";

const MAX_RETRY_MS = 10_000;
const CONNECT_TIMEOUT_MS = 4000;

/**
 * Keeps a connection open until `close()`. `onMessage(message)` gets each message;
 * `onStatus(status, retryAt)` is called with `connecting`, `live` or `lost`; `subscription()`, if
 * given, returns the message to send after each connect.
 */
export function openFeed({ onMessage, onStatus = () => {}, subscription = () => null }) {
  let current = null;
  let timer = null;
  let failures = 0;
  let isClosed = false;

  function connect() {
    clearTimeout(timer);
    timer = null;
    onStatus("connecting", null);
    const ws = openSocket();
    current = ws;
    const timeout = setTimeout(() => ws.close(), CONNECT_TIMEOUT_MS);
    ws.onopen = () => {
      clearTimeout(timeout);
      send(subscription());
    };
    ws.onmessage = ({ data }) => {
      if (ws !== current) return;
      const message = JSON.parse(data);
      if (message.type === "snapshot") {
        failures = 0;
        onStatus("live", null);
      }
      onMessage(message);
    };
    ws.onclose = () => {
      clearTimeout(timeout);
      if (ws === current && !isClosed) lost();
    };
  }

  function lost() {
    current = null;
    const wait = Math.min(MAX_RETRY_MS, 500 * 2 ** failures++) * (0.8 + 0.4 * Math.random());
    timer = setTimeout(check, wait);
    onStatus("lost", Date.now() + wait);
  }

  /** A refused WebSocket does not tell why. A request does, and asks for a key on a 401. */
  function check() {
    getStatus().then(connect, (error) => {
      if (isClosed || current) return;
      if (error.status === 401) onStatus("lost", null);
      else lost();
    });
  }

  function reconnect() {
    if (isClosed || current) return;
    clearTimeout(timer);
    failures = 0;
    connect();
  }

  function send(message) {
    if (message && current?.readyState === WebSocket.OPEN) current.send(JSON.stringify(message));
  }

  const onReturn = () => document.hidden || reconnect();
  addEventListener("online", reconnect);
  document.addEventListener("visibilitychange", onReturn);
  connect();

  return {
    send,
    close() {
      isClosed = true;
      clearTimeout(timer);
      removeEventListener("online", reconnect);
      document.removeEventListener("visibilitychange", onReturn);
      current?.close();
    },
  };
}
