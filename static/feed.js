// What the server says by itself: a snapshot, then each change. Connects again by itself.

import { getStatus, socket } from "./api.js";

const LONGEST_MS = 10_000;
const SILENT_MS = 4000; // to connect, at most

/**
 * Speaks with the server until `close`. `hear(message)` gets each message. `told(status, retryAt)`
 * is called with `connecting`, `live` or `lost`. `wish()`, if given, is what to send at first.
 */
export function openFeed({ hear, told = () => {}, wish = () => null }) {
  let current = null;
  let timer = null;
  let failures = 0;
  let isOver = false;

  function connect() {
    clearTimeout(timer);
    timer = null;
    told("connecting", null);
    const mine = (current = socket());
    const patience = setTimeout(() => mine.close(), SILENT_MS);
    mine.onopen = () => {
      clearTimeout(patience);
      send(wish());
    };
    mine.onmessage = ({ data }) => {
      if (mine !== current) return;
      const message = JSON.parse(data);
      if (message.type === "snapshot") {
        failures = 0;
        told("live", null);
      }
      hear(message);
    };
    mine.onclose = () => {
      clearTimeout(patience);
      if (mine === current && !isOver) lost();
    };
  }

  function lost() {
    current = null;
    const wait = Math.min(LONGEST_MS, 500 * 2 ** failures++) * (0.8 + 0.4 * Math.random());
    timer = setTimeout(check, wait);
    told("lost", Date.now() + wait);
  }

  /** A socket that is refused does not say why; a request does, and asks for a key on a 401. */
  function check() {
    getStatus().then(connect, (error) => {
      if (isOver || current) return;
      if (error.status === 401) told("lost", null);
      else lost();
    });
  }

  function again() {
    if (isOver || current) return;
    clearTimeout(timer);
    failures = 0;
    connect();
  }

  function send(message) {
    if (message && current?.readyState === WebSocket.OPEN) current.send(JSON.stringify(message));
  }

  const onReturn = () => document.hidden || again();
  addEventListener("online", again);
  document.addEventListener("visibilitychange", onReturn);
  connect();

  return {
    send,
    again,
    close() {
      isOver = true;
      clearTimeout(timer);
      removeEventListener("online", again);
      document.removeEventListener("visibilitychange", onReturn);
      current?.close();
    },
  };
}
