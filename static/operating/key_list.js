// The API keys, the form of a new one, and the key that was made last: it is shown only once.

import { fromLocalField } from "../lib/format.js";
import { requestOrder } from "../lib/request_order.js";
import * as api from "../server/api.js";
import { askToConfirm, runWithToast } from "../state/actions.js";
import { merge, state, update } from "../state/store.js";

/** Fields of a key that hold a number, by their labels. */
export const NUMBER_FIELDS = {
  max_running: "Tasks that run at once",
  max_waiting: "Tasks that wait",
  requests_per_day: "Tasks a day",
  requests_per_month: "Tasks a month",
  tokens_per_day: "Tokens a day",
  tokens_per_month: "Tokens a month",
};
const TEXT_FIELDS = ["name", "tenant", "max_priority", "rate"];
const LIST_FIELDS = ["models", "backends"];

const emptyForm = (role) => ({
  role,
  ...Object.fromEntries(
    [...TEXT_FIELDS, ...LIST_FIELDS, ...Object.keys(NUMBER_FIELDS)].map((name) => [name, ""]),
  ),
  expires_at: "",
  showsLimits: false,
  error: null,
  isSending: false,
});

const requests = requestOrder();

export function showKeys() {
  if (!state.keys) update({ keys: { items: null, error: null, form: null, created: null } });
  return loadKeys();
}

/** A key that was shown once is not shown again. */
export const leaveKeys = () => update({ keys: null });

export async function loadKeys() {
  const isNewest = requests();
  try {
    const items = await api.listKeys();
    if (isNewest()) merge("keys", { items, error: null });
  } catch (error) {
    if (isNewest()) merge("keys", { error });
  }
}

/** Opens the form of a new key. The first one must be an admin's. */
export const openKeyForm = () =>
  merge("keys", { form: emptyForm(state.keys.items.length ? "user" : "admin"), created: null });

export const closeKeyForm = () => merge("keys", { form: null });

export const changeKeyForm = (change) =>
  state.keys?.form && merge("keys", { form: { ...state.keys.form, ...change } });

export const forgetCreated = () => merge("keys", { created: null });

/** The key of a form, as the API takes it, without what is empty. */
function keyFrom(form) {
  const key = { role: form.role };
  for (const name of TEXT_FIELDS) if (form[name].trim()) key[name] = form[name].trim();
  for (const name of LIST_FIELDS) {
    const items = form[name].split(",").map((item) => item.trim());
    if (form[name].trim()) key[name] = items.filter(Boolean);
  }
  for (const name of Object.keys(NUMBER_FIELDS)) if (form[name]) key[name] = Number(form[name]);
  if (form.expires_at) key.expires_at = fromLocalField(form.expires_at);
  return key;
}

function useInThisTab({ key }) {
  api.setApiKey(key);
  update({ keyRefusal: null }); // the end of the old one may have been noticed already
}

export async function createKey() {
  const { form, items } = state.keys;
  changeKeyForm({ isSending: true, error: null });
  try {
    const created = await api.addKey(keyFrom(form));
    if (!items.length) useInThisTab(created); // from now on every request needs one
    merge("keys", { form: null, created });
    await loadKeys();
  } catch (error) {
    changeKeyForm({ isSending: false, error });
  }
}

export const confirmRotate = (info) =>
  askToConfirm(
    {
      title: `Replace the key of ${info.name}?`,
      body: "The old key ends at once, with its streams. The new one is shown once.",
      confirm: "Replace key",
      danger: true,
    },
    async () => {
      const created = await runWithToast(() => api.rotateKey(info.name));
      if (!created) return;
      if (api.usesKey(info.hint)) useInThisTab(created);
      merge("keys", { created, form: null });
      await loadKeys();
    },
  );

export const confirmRevoke = ({ name }) =>
  askToConfirm(
    {
      title: `Revoke the key of ${name}?`,
      body: "Its requests and streams end at once. Tasks and crons of its tenant stay.",
      confirm: "Revoke key",
      keep: "Keep key",
      danger: true,
    },
    async () => {
      await runWithToast(() => api.revokeKey(name), `Revoked ${name}`);
      await loadKeys();
    },
  );
